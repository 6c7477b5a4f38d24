package clickhouse

import (
	"os"
	"strconv"
	"strings"
	"testing"

	engine "mailbeacon/internal/engines/clickhouse"
)

// serverTicks is the processor time that a server has used, in hundredths of a second: on a machine
// that others use too it says more than the time that passed. 0 where the server is not ours.
func serverTicks(b *testing.B, s *engine.Server) float64 {
	if s.PID() == 0 {
		return 0
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(s.PID()) + "/stat")
	must(b, err)
	_, after, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	user, err := strconv.ParseFloat(fields[11], 64)
	must(b, err)
	system, err := strconv.ParseFloat(fields[12], 64)
	must(b, err)
	return user + system
}

// reportServer adds the server's processor time per operation since before.
func reportServer(b *testing.B, s *engine.Server, before float64) {
	b.ReportMetric((serverTicks(b, s)-before)*10/float64(b.N), "server-cpu-ms/op")
}
