package clickhouse

import (
	"strings"
	"testing"

	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// TestTableIsMadeForCommits: what commits rest on stands in the table, and no test of behaviour would miss it soon.
func TestTableIsMadeForCommits(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	for _, table := range []string{"aggregates", "streams"} {
		var made string
		ask(t, o, "SELECT create_table_query FROM system.tables WHERE database = '"+o.Database+"' AND name = '"+table+"'", &made)
		for _, want := range []string{"non_replicated_deduplication_window = 100000", "fsync_after_insert = 1", "fsync_part_directory = 1"} {
			if !strings.Contains(made, want) {
				t.Errorf("%s is not in %s", want, made)
			}
		}
	}
}
