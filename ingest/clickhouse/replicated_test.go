package clickhouse

import (
	"testing"

	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// TestReplicatedIsChecked: with replicated=true a commit rests on tables that are replicated. Plain tables, of a migration
// that was run without it, are one history for each server.
func TestReplicatedIsChecked(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	o.Replicated = true
	s, err := Open(t.Context(), o)
	if err == nil {
		_ = s.Close()
		t.Error("tables that are not replicated are taken for replicated ones")
	}
}

// TestSeveralHostsMustBeReplicated: the tables of several servers are the same only where they are replicated. Otherwise the
// next server knows another offset, and counts from there again.
func TestSeveralHostsMustBeReplicated(t *testing.T) {
	t.Parallel()
	if o, err := Parse("clickhouse://a:9000,b:9000/mailbeacon"); err == nil {
		t.Errorf("%v is taken without replicated=true", o)
	}
}
