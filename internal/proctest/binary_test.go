package proctest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// leapingBinary is the program with a wall clock that stands up to an hour wrong and leaps every 0.7 s, each process's its
// own way. It is built with another package time: the monotonic clock is as it was.
var leapingBinary = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find Go: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("build a leaping clock: %w", err)
	}
	const now = "\tmono -= startNano\n\tsec += unixToInternal - minWall\n"
	if bytes.Count(text, []byte(now)) != 1 {
		return "", fmt.Errorf("build a leaping clock: %s is another than was known", original)
	}
	leap := "\tsec += int64(uint64(mono/700_000_000+startNano)*0x9e3779b97f4a7c15>>32%7200) - 3600\n"
	leaping, overlay := filepath.Join(builds, "time.go"), filepath.Join(builds, "overlay.json")
	if err := os.WriteFile(leaping, bytes.Replace(text, []byte(now), []byte(now+leap), 1), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace":{%q:%q}}`, original, leaping), 0o600); err != nil {
		return "", err
	}
	return build("mailbeacon-leaping", []string{"-overlay", overlay}, "CGO_ENABLED=0")
})

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
