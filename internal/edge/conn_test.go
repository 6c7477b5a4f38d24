package edge

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// counting counts how often a deadline was armed.
type counting struct {
	net.Conn
	reads, writes int
}

func (c *counting) SetReadDeadline(t time.Time) error {
	c.reads++
	return c.Conn.SetReadDeadline(t)
}

func (c *counting) SetWriteDeadline(t time.Time) error {
	c.writes++
	return c.Conn.SetWriteDeadline(t)
}

func pipe() (*conn, *counting, net.Conn) {
	near, far := net.Pipe()
	raw := &counting{Conn: near}
	c := &conn{Conn: raw}
	c.heard.Store(true)
	return c, raw, far
}

// Whatever was wanted before, a call fails when the last wanted deadline comes, neither sooner nor
// later.
func TestDeadlinesFireWhenWanted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 20), 1, 8).Draw(r, "seconds")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 25), len(steps), len(steps)).Draw(r, "pauses")
		reading := rapid.Bool().Draw(r, "reading")
		synctest.Test(t, func(*testing.T) {
			c, _, far := pipe()
			defer c.Conn.Close()
			defer far.Close()
			set, call := c.SetWriteDeadline, c.Write
			if reading {
				set, call = c.SetReadDeadline, c.Read
			}
			var wanted time.Time
			for i, s := range steps {
				time.Sleep(time.Duration(pauses[i]) * time.Second)
				wanted = time.Now().Add(time.Duration(s) * time.Second)
				if s == 0 {
					wanted = time.Time{}
				}
				if err := set(wanted); err != nil {
					r.Fatal(err)
				}
			}
			if wanted.IsZero() { // none: the call goes on until the other side ends it
				time.AfterFunc(time.Hour, func() { far.Close() })
			}
			begin := time.Now()
			_, err := call(make([]byte, 1))
			switch {
			case wanted.IsZero():
				if errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Hour {
					r.Fatalf("without a deadline: %v after %v", err, time.Since(begin))
				}
			case !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Equal(wanted):
				r.Fatalf("%v, %v after the deadline", err, time.Since(wanted))
			}
		})
	})
}

// A write that an early deadline interrupts goes on where it was.
func TestWriteGoesOnAfterAnEarlyDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _, far := pipe()
		defer c.Conn.Close()
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
		got := make(chan string)
		go func() {
			first := make([]byte, 4)
			_, _ = io.ReadFull(far, first)
			time.Sleep(30 * time.Second)
			rest := make([]byte, 6)
			_, _ = io.ReadFull(far, rest)
			got <- string(first) + string(rest)
		}()
		if n, err := c.Write([]byte("0123456789")); n != 10 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if s := <-got; s != "0123456789" {
			t.Errorf("%q arrived", s)
		}
	})
}

// A connection under load arms each deadline once, not for every request.
func TestDeadlinesAreArmedSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, raw, far := pipe()
		defer c.Conn.Close()
		go func() {
			buf := make([]byte, 1)
			for {
				if _, err := far.Write(buf); err != nil {
					return
				}
				if _, err := far.Read(buf); err != nil {
					return
				}
			}
		}()
		buf := make([]byte, 1)
		for range 1000 {
			for _, d := range []time.Duration{time.Minute, 10 * time.Second} {
				if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(buf); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(buf); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if raw.reads > 2 || raw.writes > 1 {
			t.Errorf("armed %d times for reading, %d for writing", raw.reads, raw.writes)
		}
	})
}
