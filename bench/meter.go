package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of processor times in /proc, the same on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// startMeter begins to count the processor time of p and its children.
func (p *process) startMeter() {
	used, err := processorTime(p.cmd.Process.Pid)
	if err != nil {
		used = -1
	}
	p.since.Store(int64(used))
}

// readMeter is the processor time since startMeter, 0 where the machine does not tell.
func (p *process) readMeter() (time.Duration, error) {
	since := time.Duration(p.since.Load())
	used, err := processorTime(p.cmd.Process.Pid)
	if errors.Is(err, fs.ErrNotExist) || since < 0 {
		return 0, nil
	}
	return used - since, err
}

// processorTime is what a process and its children have used so far (proc(5)).
func processorTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	used, err := parseStat(stat)
	if err != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for _, field := range bytes.Fields(children) {
		child, err := strconv.Atoi(string(field))
		if err != nil {
			return 0, err
		}
		more, err := processorTime(child)
		if err != nil {
			return 0, err
		}
		used += more
	}
	return used, nil
}

// parseStat adds up user and system time, the 14th and 15th field. The second is a name in
// brackets that may hold anything.
func parseStat(stat []byte) (time.Duration, error) {
	const afterName = 11 // user time among the fields after the name
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < afterName+2 {
		return 0, errors.New("too few fields")
	}
	var ticks int64
	for _, field := range fields[afterName : afterName+2] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}
