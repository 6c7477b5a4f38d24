package storetest_test

import (
	"testing"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/storetest"
)

func TestMemoryConforms(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Backend{
		Open:     func(*testing.T, string) aggregate.Store { return storetest.NewMemory() },
		Volatile: true,
		Exact:    true,
	})
}
