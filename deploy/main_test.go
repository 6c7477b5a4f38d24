// Package deploy_test runs what deploy/ holds, as far as it can be run without containers, and holds the
// rest to the program: commands, flags, variables, and what is copied into the image.
package deploy_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/pflag"

	"mailbeacon/internal/config"
)

// scratch is a folder for the tests' length.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mailbeacon-deploy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "mailbeacon")
	cmd := exec.Command("go", "build", "-o", path, "mailbeacon/cmd/mailbeacon")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mailbeacon: %w\n%s", err, out)
	}
	return path, nil
})

// program is the binary.
func program(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// environ is this process's environment without what would configure the program, and more besides.
func environ(more ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "MAILBEACON") {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

// run runs a command and returns all that it said, and its exit code.
func run(ctx context.Context, t *testing.T, dir string, env []string, name string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkCommand holds a command line of mailbeacon, without the program's name, to what there is.
func checkCommand(t *testing.T, where string, words []string) {
	t.Helper()
	out, code := run(t.Context(), t, "", environ(), program(t), append(words[:len(words):len(words)], "--help")...)
	var path []string
	for _, w := range words {
		if strings.HasPrefix(w, "-") || strings.Contains(w, "/") {
			break
		}
		path = append(path, w)
	}
	usage := "mailbeacon " + strings.Join(path, " ")
	if code != 0 || !strings.Contains(out, usage+" ") && !strings.Contains(out, usage+"\n") {
		t.Errorf("%s: mailbeacon %v: exit code %d:\n%s", where, words, code, out)
	}
}

// roles are those that a command line may begin with.
var roles = []config.Role{config.Serve, config.Edge, config.Consume, config.Admin}

// roleFlags are the flags of a role.
func roleFlags(role config.Role) *pflag.FlagSet {
	fs := pflag.NewFlagSet(string(role), pflag.ContinueOnError)
	config.Flags(fs, role)
	return fs
}

// load reads the settings of a role as the program would, where files lie elsewhere than in a container
// or on a server: files says which are which.
func load(t *testing.T, where string, role config.Role, args, env []string, files map[string]string) *config.Config {
	t.Helper()
	replace := func(s string) string {
		for there, here := range files {
			s = strings.ReplaceAll(s, there, here)
		}
		return s
	}
	var here []string
	for _, kv := range env {
		here = append(here, replace(kv))
	}
	fs := roleFlags(role)
	if err := fs.Parse(args); err != nil {
		t.Errorf("%s: %v", where, err)
		return nil
	}
	c, err := config.Load(fs, here, role)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return nil
	}
	return c
}

// stand is a file in the place of one that is elsewhere where the program runs.
func stand(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
