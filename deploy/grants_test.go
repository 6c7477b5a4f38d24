package deploy_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestGrantsNameEachTable: a role that inserts into a table has the right to do so on the page. The test's engine knows no
// rights, so the names are compared.
func TestGrantsNameEachTable(t *testing.T) {
	who := map[string]string{
		"aggregates": "mailbeacon_consume", "activity": "mailbeacon_consume", "streams": "mailbeacon_consume",
		"populations": "mailbeacon_admin", "ledger": "mailbeacon_admin", "closings": "mailbeacon_admin", "ledger_people": "mailbeacon_admin",
	}
	files, err := filepath.Glob("../ingest/clickhouse/sql/*_add.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %v", files, err)
	}
	page := text(t, "ENGINES.md")
	for _, file := range files {
		table := strings.Fields(strings.TrimPrefix(text(t, file), "INSERT INTO "))[0]
		if user := who[table]; user == "" || !strings.Contains(page, "GRANT INSERT ON mailbeacon."+table+" TO "+user+";") {
			t.Errorf("%s inserts into %s: ENGINES.md gives %q no right to", file, table, user)
		}
	}
}
