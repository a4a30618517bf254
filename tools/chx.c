/* SPDX-License-Identifier: MIT
 * chx.c: the command. Finds the subcommand and runs it; nothing is loaded before a subcommand asks for it.
 */
#include "cli.h"
#include <errno.h>
#include <string.h>

const cli_command *const cli_commands[] = {&cmd_devices, &cmd_ops, &cmd_train, &cmd_predict, &cmd_bench, &cmd_conform,
                                           &cmd_diff, NULL};

static int print_help(void)
{
  puts("chx trains and runs networks on devices that are plugins.\n\n"
       "Usage: chx COMMAND [arguments]\n\nCommands:");
  for (int i = 0; cli_commands[i]; i++)
    printf("  %-9s %s\n", cli_commands[i]->name, cli_commands[i]->brief);
  puts("\n'chx COMMAND --help' shows a command's options, with examples; 'chx --version' the version.\n\n"
       "Examples:\n"
       "  chx devices\n"
       "  chx train cnn --data data/digits.csv.gz --epochs 20\n"
       "  chx predict --model chx-out/model.npz --data data/digits.csv.gz");
  return CLI_OK;
}

static int unknown(const char *name)
{
  cli_guess g = cli_guess_of(name);

  for (int i = 0; cli_commands[i]; i++)
    cli_guess_try(&g, cli_commands[i]->name);
  cli_guess_try(&g, "help");
  if (g.best)
    return cli_usage(NULL, "there is no command '%s'; did you mean %s?", name, g.best);
  return cli_usage(NULL, "there is no command '%s'", name);
}

static int run(int argc, char **argv)
{
  const char *name = argc > 1 ? argv[1] : NULL;
  int help;

  if (!name)
    return cli_usage(NULL, "a command is missing, such as devices or train");
  if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
    printf("chx %s\n", chx_version());
    return CLI_OK;
  }
  if (strcmp(name, "complete") == 0)
    return cli_complete(argc - 2, argv + 2);
  help = strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
  if (help && argc == 2)
    return print_help();
  if (help)
    name = argv[2];
  for (int i = 0; cli_commands[i]; i++)
    if (strcmp(name, cli_commands[i]->name) == 0) {
      if (!help)
        return cli_commands[i]->run(cli_commands[i], argc - 2, argv + 2);
      cli_help(cli_commands[i], stdout);
      return CLI_OK;
    }
  return unknown(name);
}

int main(int argc, char **argv)
{
  int code = run(argc, argv);

  errno = 0;
  if ((fflush(stdout) || ferror(stdout)) && code == CLI_OK)
    code = cli_fail(NULL, NULL, "the output could not be written: %s", errno ? strerror(errno) : "write error");
  return code;
}
