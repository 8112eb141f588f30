// `replica remove`: forgets a folder that `replica add` remembered.
import { Command, Option } from 'clipanion';
import { removeFolder } from './config-file.ts';
import { ExitCode } from './exit-code.ts';
import { plainLine } from './plain-line.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';

export class RemoveCommand extends ReplicaCommand {
  static override paths = [['remove']];
  static override usage = Command.Usage({
    description: "Forget a folder that 'replica add' remembered",
    examples: [
      ['A folder that goes to one place', '$0 remove ~/photos'],
      ['One of several targets', '$0 remove ~/project backup.example.org'],
    ],
  });
  static override notes = [
    "Only the config file changes: both trees stay as they are, and a 'replica up' that runs goes on with the folder until it is started again. A <src> that is gone by now can be named as well.",
  ];

  source = Option.String({ name: 'src' });
  target = Option.String({ name: 'target', required: false });

  protected override async perform({ folders }: Surroundings): Promise<ExitCode> {
    const { cwd, home, stdout } = this.context;
    const { source, target } = this;
    const { allFlags, names } = this.commands;
    const { configFile } = folders;
    const removed = removeFolder(
      { source, target },
      { configFile, allFlags, sections: names, home, cwd },
    );
    const line = `removed ${removed.source} to ${removed.target}; what was copied stays`;
    stdout.write(`${plainLine(line)}\n`);
    return ExitCode.Done;
  }
}
