package proctest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// raceDetector is set where the tests themselves run with it.
var raceDetector bool

// builds is where the binaries are.
var builds string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mailbeacon-proctest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// A server may run as somebody else, to see what it may not write.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // it holds nothing but the binary
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	builds = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// plainBinary is the program as its users build it.
var plainBinary = sync.OnceValues(func() (string, error) { return build("mailbeacon", nil, "CGO_ENABLED=0") })

// racyBinary is the program with the race detector in it.
var racyBinary = sync.OnceValues(func() (string, error) { return build("mailbeacon-race", []string{"-race"}) })

func build(name string, flags []string, env ...string) (string, error) {
	path := filepath.Join(builds, name)
	cmd := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), "mailbeacon/cmd/mailbeacon")...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// binary is the program that tests of correctness run: with the race detector where they have it.
func binary(t *testing.T) string {
	t.Helper()
	if raceDetector {
		return built(t, racyBinary)
	}
	return built(t, plainBinary)
}

func built(t *testing.T, which func() (string, error)) string {
	t.Helper()
	path, err := which()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
