package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ err, want error }{
		"table":      {&clickhouse.Exception{Code: codeUnknownTable}, ErrMissing},
		"database":   {&clickhouse.Exception{Code: codeUnknownDatabase}, ErrMissing},
		"password":   {&clickhouse.Exception{Code: codeWrongCredentials}, ErrRefused},
		"rights":     {&clickhouse.Exception{Code: codeAccessDenied}, ErrRefused},
		"read-only":  {&clickhouse.Exception{Code: codeReadonly}, ErrRefused},
		"setting":    {&clickhouse.Exception{Code: codeUnknownSetting}, ErrOldServer},
		"dial":       {&net.OpError{Op: "dial", Err: errors.New("refused")}, ErrAddress},
		"name":       {&net.DNSError{Name: "nowhere"}, ErrAddress},
		"read":       {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, context.DeadlineExceeded},
		"said twice": {fmt.Errorf("%w (%w)", ErrNewer, &clickhouse.Exception{Code: codeUnknownTable}), ErrNewer},
	} {
		got := explain(fmt.Errorf("doing: %w", c.err))
		if !errors.Is(got, c.want) || !errors.Is(got, c.err) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got := explain(&clickhouse.Exception{Code: 241}); errors.Is(got, ErrRefused) || errors.Is(got, ErrMissing) {
		t.Errorf("memory: %v", got)
	}
}
