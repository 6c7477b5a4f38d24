package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// What can be wrong with a store. Errors of this package wrap them.
var (
	ErrMissing   = errors.New("the store's tables are not there; make them with mailbeacon admin migrate")
	ErrOlder     = errors.New("the store is of an older version; bring it up to date with mailbeacon admin migrate")
	ErrNewer     = errors.New("the store was made by a newer mailbeacon; start it with that one")
	ErrOldServer = errors.New("the ClickHouse server is too old")
	ErrRefused   = errors.New("the server refuses")
	ErrDamaged   = errors.New("the store holds what no mailbeacon wrote")
	ErrAddress   = errors.New("no server answers as ClickHouse there")
)

// The numbers of the server's errors that are told apart.
const (
	codeUnknownTable     = 60
	codeUnknownDatabase  = 81
	codeUnknownSetting   = 115
	codeReadonly         = 164
	codePreviousQuorum   = 286
	codeThrowIf          = 395
	codeAccessDenied     = 497
	codeWrongCredentials = 516
)

// code is the number of a server's error, 0 of any other.
func code(err error) int32 {
	var e *clickhouse.Exception
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// timedOut makes the end of a connection's time, which is the context's, an end of the context.
func timedOut(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// explain adds what a person can do about an error.
func explain(err error) error {
	err = timedOut(err)
	for _, known := range []error{ErrMissing, ErrOlder, ErrNewer, ErrOldServer, ErrRefused, ErrAddress} {
		if errors.Is(err, known) {
			return err
		}
	}
	switch code(err) {
	case codeUnknownDatabase, codeUnknownTable:
		return fmt.Errorf("%w (%w)", ErrMissing, err)
	case codeWrongCredentials:
		return fmt.Errorf("%w the user or the password: %w", ErrRefused, err)
	case codeAccessDenied, codeReadonly:
		return fmt.Errorf("%w: the user has not the rights (they are listed in ingest/clickhouse/README.md): %w", ErrRefused, err)
	case codeUnknownSetting:
		return fmt.Errorf("%w: %w", ErrOldServer, err)
	case 0:
		var op *net.OpError
		var dns *net.DNSError
		if errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial" {
			return fmt.Errorf("%w: %w", ErrAddress, err)
		}
	}
	return err
}
