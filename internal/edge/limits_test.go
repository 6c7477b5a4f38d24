package edge

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Each time-out is the one that is set for its purpose, on the first request and on later ones, in
// the lane and outside of it.
func TestTimeoutsAreApart(t *testing.T) {
	t.Parallel()
	const short, long = 150 * time.Millisecond, 30 * time.Second
	for _, tc := range []struct {
		name   string
		limits Limits
		first  string // has an answer
		then   string // and then silence
		want   string // what comes at last
	}{
		{"rest", Limits{ReadTimeout: long, IdleTimeout: short}, "GET /c/x HTTP/1.1\r\nHost: h\r\n\r\n", "", ""},
		{"rest in the lane", Limits{ReadTimeout: long, IdleTimeout: short}, get, "", ""},
		{"half a request after a rest", Limits{ReadTimeout: short, IdleTimeout: long}, "GET /c/x HTTP/1.1\r\nHost: h\r\n\r\n", "GET /c/", "HTTP/1.1 408 "},
		{"half a request after the lane", Limits{ReadTimeout: short, IdleTimeout: long}, get, "GET /o/", "HTTP/1.1 408 "},
		{"half a body after a rest", Limits{ReadTimeout: short, IdleTimeout: long}, get, "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", "HTTP/1.1 408 "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := lanes()
			o.Limits = tc.limits
			s := start(t, o)
			c := s.dial()
			say(t, c, tc.first, 1)
			if _, err := io.WriteString(c, tc.then); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			all, err := io.ReadAll(c)
			if took := time.Since(begin); err != nil || !strings.HasPrefix(string(all), tc.want) || tc.want == "" && len(all) > 0 || took < short/2 {
				t.Errorf("after %v: %.60q, %v", took, all, err)
			}
		})
	}
}

// What fasthttp would log holds addresses and pieces of requests.
func TestFasthttpSaysNothing(t *testing.T) {
	t.Parallel()
	s := start(t, echo())
	s.send("GET /o/\x01secret HTTP/1.1\r\nHost: h\r\n\r\n")
	if c, err := net.Dial("tcp4", s.addr); err == nil {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	if _, silent := s.http.Logger.(silence); !silent || !s.http.SecureErrorLogMessage || s.http.LogAllErrors {
		t.Errorf("logger %T, secure %v, all errors %v", s.http.Logger, s.http.SecureErrorLogMessage, s.http.LogAllErrors)
	}
}
