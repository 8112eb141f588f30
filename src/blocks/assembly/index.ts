// Kernels of blocks/, compiled to WebAssembly by the build.
export function version(): i32 {
  return 1;
}
