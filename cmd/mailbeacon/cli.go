package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mailbeacon/internal/client"
	"mailbeacon/internal/config"
)

// cli is what the commands know of the world.
type cli struct {
	stdout, stderr io.Writer
	stdin          io.Reader
	env            func(string) string
}

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a command that was not written right: exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage marks an error as one of how the command was written; nil stays nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// execute runs a command line and returns the process's exit code. What went wrong is said once, on
// stderr.
func (c *cli) execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(wrongValue(err)) })
	strict(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(c.stderr, "mailbeacon: %v\n", err)
	var wrong *usageError
	if errors.As(err, &wrong) || cmd == root {
		fmt.Fprintf(c.stderr, "`%s --help` shows how it is used.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailure
}

// wrongValue says of a flag's value that can't be read what it may be, and not which function could not read it.
func wrongValue(err error) error {
	var wrong *pflag.InvalidValueError
	if !errors.As(err, &wrong) {
		return err
	}
	name, value := wrong.GetFlag().Name, wrong.GetValue()
	switch wrong.GetFlag().Value.Type() {
	case "bool":
		return fmt.Errorf("--%s is true or false, and true where it stands alone; it is %q", name, value)
	case "int":
		return fmt.Errorf("--%s is a number; it is %q", name, value)
	}
	return err
}

// number is n of something: "1 line", "2 lines".
func number[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// strict has every wrong argument count as a mistake of usage, and every unknown subcommand as a
// wrong argument.
func strict(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error { return usage(check(cmd, args)) }
	}
	if cmd.HasSubCommands() && !cmd.Runnable() && cmd.HasParent() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s needs a subcommand: %s", cmd.CommandPath(), subcommands(cmd))
			}
			return usagef("%s has no subcommand %q; there are: %s", cmd.CommandPath(), args[0], subcommands(cmd))
		}
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

func subcommands(cmd *cobra.Command) string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return strings.Join(names, ", ")
}

// printJSON prints a value the way a person can read it too.
func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// remote are the flags of commands that speak to a server.
type remote struct {
	server, key, data string
	json              bool
}

// remoteFlags adds the flags to a command and all below it.
func remoteFlags(fs *pflag.FlagSet) *remote {
	r := &remote{}
	fs.StringVar(&r.server, "server", "", "the server's private side, as http://127.0.0.1:8081 (or MAILBEACON_SERVER; else the one on this machine)")
	fs.StringVar(&r.key, "key", "", "the key (or better MAILBEACON_KEY, which no list of processes shows; else the data folder's admin.key)")
	dataFlag(fs, &r.data)
	fs.BoolVar(&r.json, "json", false, "print JSON")
	return r
}

func dataFlag(fs *pflag.FlagSet, to *string) {
	fs.StringVar(to, "data", "", "data folder of the server on this machine (or MAILBEACON_DATA; else "+defaultData()+")")
}

// defaultData is the data folder that serve takes.
func defaultData() string {
	for _, s := range config.Settings() {
		if s.Name == "data" {
			return s.Default
		}
	}
	return "."
}

func (c *cli) dataDir(flag string) string {
	if flag != "" {
		return flag
	}
	if dir := c.env("MAILBEACON_DATA"); dir != "" {
		return dir
	}
	return defaultData()
}

// connect finds the server that is meant.
func (c *cli) connect(r *remote) (*client.Client, error) {
	w := client.Where{Server: r.server, Key: r.key, Data: c.dataDir(r.data)}
	if w.Server == "" {
		w.Server = c.env("MAILBEACON_SERVER")
	}
	if w.Key == "" {
		w.Key = c.env("MAILBEACON_KEY")
	}
	return client.Find(w)
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	cmd.AddCommand(subs...)
	return cmd
}

// argument is an argument that should not end up in the shell's history: "-" reads it from a line
// of stdin.
func (c *cli) argument(arg, what string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	b, err := io.ReadAll(io.LimitReader(c.stdin, 4<<10))
	if err != nil {
		return "", fmt.Errorf("read %s from stdin: %w", what, err)
	}
	line, rest, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if line == "" || rest != "" {
		return "", usagef("stdin does not hold one line with %s", what)
	}
	return strings.TrimSpace(line), nil
}

// asUsage tells what the server says of a value as what the user wrote: a wrong value is a mistake
// of usage like a wrong flag.
func asUsage(err error) error {
	var e *client.Error
	if errors.As(err, &e) && (e.Status == 400 || e.Status == 422) {
		return usage(err)
	}
	return err
}
