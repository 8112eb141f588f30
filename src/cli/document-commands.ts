// `replica completion` and `replica man`: the help in other forms.
import { Command, Option } from 'clipanion';
import { formatCompletion, type Shell, shells } from './completion.ts';
import { ExitCode, exitCodeMeanings } from './exit-code.ts';
import { formatManPage } from './man-page.ts';
import { ReplicaCommand } from './replica-command.ts';
import { usage } from './settings.ts';
import { readVersion } from './version.ts';

export class CompletionCommand extends ReplicaCommand {
  static override paths = [['completion']];
  static override usage = Command.Usage({
    description: 'Print what makes a shell complete commands, flags and their values',
    examples: [
      ['bash, in ~/.bashrc', 'source <($0 completion bash)'],
      ['zsh, in ~/.zshrc after compinit', 'source <($0 completion zsh)'],
      [
        'fish',
        'mkdir -p ~/.config/fish/completions\n      $0 completion fish > ~/.config/fish/completions/replica.fish',
      ],
    ],
  });

  shell = Option.String({ name: 'bash|zsh|fish' });

  protected override async perform(): Promise<ExitCode> {
    const shell = shells.find(one => one === this.shell);
    if (shell === undefined) {
      throw usage('completion', `'${this.shell}' is none of ${shells.join(', ')}`);
    }
    this.context.stdout.write(formatCompletion(shell satisfies Shell, this.commands.catalog));
    return ExitCode.Done;
  }
}

export class ManCommand extends ReplicaCommand {
  static override paths = [['man']];
  static override usage = Command.Usage({
    description: 'Print the manual page, replica(1)',
    examples: [
      ['Read it', '$0 man | man -l -'],
      [
        'Install it',
        'mkdir -p ~/.local/share/man/man1\n      $0 man > ~/.local/share/man/man1/replica.1',
      ],
    ],
  });

  protected override async perform(): Promise<ExitCode> {
    const { catalog } = this.commands;
    const page = formatManPage({ catalog, exitCodes: exitCodeMeanings, version: readVersion() });
    this.context.stdout.write(page);
    return ExitCode.Done;
  }
}
