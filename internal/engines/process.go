package engines

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is an engine's process.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended; after ended
}

// starter runs what it is sent on one thread that never ends: the kernel kills a child when the
// thread that made it is gone, and Go's other threads come and go.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// Start starts cmd as a process group of its own. It dies with this process, unless it is to be
// detached.
func Start(cmd *exec.Cmd, detached bool) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !detached, Setsid: detached}
	var err error
	if detached {
		err = cmd.Start()
	} else {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		done := make(chan struct{})
		starter() <- func() { err = cmd.Start(); close(done) }
		<-done
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Err says how the process ended. It may be asked only when it has.
func (p *Process) Err() error { return p.err }

// Signal sends a signal to the whole group. A process that is gone is no error.
func (p *Process) Signal(s syscall.Signal) {
	_ = syscall.Kill(-p.PID(), s) // the group is gone, or it is ours
}

// Kill ends the process at once, and returns when it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.ended
}

// Stop asks the process to end, and kills it if it does not within a bound.
func (p *Process) Stop(within time.Duration) {
	p.Signal(syscall.SIGCONT)
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(within):
		p.Kill()
	}
}

// WritePID notes a detached process in a file, so that another can end it.
func (p *Process) WritePID(path string) error {
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d %s\n", p.PID(), born(p.PID())), 0o644); err != nil {
		return fmt.Errorf("note the process: %w", err)
	}
	return nil
}

// born is when a process started, in the kernel's ticks: with it a number names one process only.
// Empty if there is no such process.
func born(pid int) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(b), ") ")
	if fields := strings.Fields(after); len(fields) > 19 {
		return fields[19]
	}
	return ""
}

// Noted returns the number of the process that WritePID noted, 0 if it does not run any more.
func Noted(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	number, since, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 1 || since == "" || born(pid) != since {
		return 0
	}
	return pid
}

// EndNoted ends the process that WritePID noted, and removes the note.
func EndNoted(path string, within time.Duration) error {
	until := time.Now().Add(within)
	for signal := syscall.SIGTERM; ; {
		pid := Noted(path)
		if pid == 0 {
			break
		}
		if err := syscall.Kill(-pid, signal); err != nil {
			return fmt.Errorf("end process %d: %w", pid, err)
		}
		if time.Now().After(until) {
			signal = syscall.SIGKILL
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove the note of the process: %w", err)
	}
	return nil
}
