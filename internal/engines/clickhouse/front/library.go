//go:build linux

package main

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// The library's own types, seen by pointer only.
type (
	handle  struct{ _ byte }
	cHandle struct{ *handle }
	result  struct{ _ byte }
)

// connection is a session of the engine.
type connection struct {
	c     *cHandle
	begun string // the statements that it began with
}

// library is the C interface of libchdb.so that is used here.
var library struct {
	connect       func(argc int32, argv **byte) *cHandle
	closeConn     func(*cHandle)
	query         func(h *handle, text *byte, textLen uintptr, format *byte, formatLen uintptr, names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, params uintptr) *result
	destroy       func(*result)
	buffer        func(*result) *byte
	length        func(*result) uintptr
	rowsWritten   func(*result) uint64
	failure       func(*result) string
	handleSignals func(on int32)
}

// load opens libchdb.so.
func load(path string) error {
	return keepingSignals(func() error {
		lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			return fmt.Errorf("load the engine: %w", err)
		}
		for name, fn := range map[string]any{
			"chdb_connect":                     &library.connect,
			"chdb_close_conn":                  &library.closeConn,
			"chdb_query_with_params_n":         &library.query,
			"chdb_destroy_query_result":        &library.destroy,
			"chdb_result_buffer":               &library.buffer,
			"chdb_result_length":               &library.length,
			"chdb_result_rows_written":         &library.rowsWritten,
			"chdb_result_error":                &library.failure,
			"chdb_set_signal_handlers_enabled": &library.handleSignals,
		} {
			purego.RegisterLibFunc(fn, lib, name)
		}
		library.handleSignals(0)
		return nil
	})
}

// cstrings are strings that the library reads. None of them may move or be freed meanwhile: they
// are on the heap, and purego keeps its arguments alive during a call.
type cstrings struct {
	ptrs []*byte
	lens []uintptr
}

func (c *cstrings) add(s string) {
	b := append([]byte(s), 0)
	c.ptrs, c.lens = append(c.ptrs, &b[0]), append(c.lens, uintptr(len(s)))
}

// connect opens a session of the engine on a folder; the process has one folder.
func connect(dir string) (*connection, error) {
	var args cstrings
	args.add("clickhouse")
	args.add("--path=" + dir)
	argc := len(args.ptrs)
	args.ptrs = append(args.ptrs, nil)
	c := &connection{}
	err := keepingSignals(func() error {
		c.c = library.connect(int32(argc), &args.ptrs[0])
		if c.c == nil || c.c.handle == nil {
			return errors.New("the engine does not open its folder")
		}
		return nil
	})
	return c, err
}

// run runs a statement to its end and gives its whole output in a format.
func (c *connection) run(text, format string, params map[string]string) ([]byte, uint64, error) {
	var t, names, values cstrings
	t.add(text)
	t.add(format)
	for name, value := range params {
		names.add(name)
		values.add(value)
	}
	n := len(names.ptrs)
	names.add("") // there must be something to point at
	values.add("")
	r := library.query(c.c.handle, t.ptrs[0], t.lens[0], t.ptrs[1], t.lens[1],
		&names.ptrs[0], &names.lens[0], &values.ptrs[0], &values.lens[0], uintptr(n))
	if r == nil {
		return nil, 0, &exception{code: 1001, text: "the engine gave no result"}
	}
	defer library.destroy(r)
	if msg := library.failure(r); msg != "" {
		return nil, 0, parseException(msg)
	}
	var out []byte
	if size := library.length(r); size > 0 {
		out = append(out, unsafe.Slice(library.buffer(r), size)...)
	}
	return out, library.rowsWritten(r), nil
}

// sigaction is the kernel's struct on amd64; what is in it is only kept and given back.
type sigaction [4]uint64

const lastSignal = 64

func swapAction(sig int, to, from *sigaction) {
	// Nothing can be done about a failure, and there is none for a signal that was just read.
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(from)), 8, 0, 0)
}

// keepingSignals calls fn and puts back the signal handlers as they were: the library takes those
// of deadly signals for itself when it is loaded and with every connection, and the Go runtime can't
// live without its own.
func keepingSignals(fn func() error) error {
	var before [lastSignal + 1]sigaction
	for sig := 1; sig <= lastSignal; sig++ {
		swapAction(sig, nil, &before[sig])
	}
	err := fn()
	for sig := 1; sig <= lastSignal; sig++ {
		if sig != int(syscall.SIGKILL) && sig != int(syscall.SIGSTOP) {
			swapAction(sig, &before[sig], nil)
		}
	}
	return err
}
