package engines

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locked twice: %v", err)
	}
	unlock()
	unlock, err = Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestCacheFromTheEnvironment(t *testing.T) {
	want := filepath.Join(t.TempDir(), "here")
	t.Setenv(CacheVariable, want)
	if got, err := Cache(); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := os.Stat(want); err != nil {
		t.Error(err)
	}
}

func TestFreePorts(t *testing.T) {
	t.Parallel()
	ports, err := FreePorts(5)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] || p == 0 {
			t.Errorf("ports %v", ports)
		}
		seen[p] = true
	}
}

// TestNotedProcess: a detached process can be ended by another, and a number that was used again is not
// taken for it.
func TestNotedProcess(t *testing.T) {
	t.Parallel()
	p, err := Start(exec.Command("sleep", "60"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	note := filepath.Join(t.TempDir(), "pid")
	if err := p.WritePID(note); err != nil {
		t.Fatal(err)
	}
	if Noted(note) != p.PID() {
		t.Error("the process is not found")
	}
	other := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(other, []byte("1 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := Noted(other); n != 0 {
		t.Errorf("process %d would be ended", n)
	}
	if err := EndNoted(note, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	if err := EndNoted(note, time.Second); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	p, err := Start(exec.Command("sleep", "60"), false)
	if err != nil {
		t.Fatal(err)
	}
	p.Signal(syscall.SIGSTOP)
	p.Stop(5 * time.Second) // also one that is stopped
	if p.Err() == nil {
		t.Error("it ended by itself")
	}
	p.Signal(syscall.SIGKILL) // gone: nothing happens
}
