package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// bar shows on a terminal how far something is; elsewhere it shows nothing.
type bar struct {
	out   io.Writer // nil: nowhere
	size  int64     // 0: not known
	of    string    // what is counted
	began time.Time
	drawn bool
}

const barWidth = 30

func newBar(out io.Writer, size int64, of string) *bar {
	b := &bar{size: size, of: of, began: time.Now()}
	if f, ok := out.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			b.out = out
		}
	}
	return b
}

// draw shows how far it is, in the measure of its size, and how many things that makes.
func (b *bar) draw(far int64, n uint64) {
	if b.out == nil {
		return
	}
	b.drawn = true
	rate := float64(n) / max(time.Since(b.began).Seconds(), 0.001)
	if b.size <= 0 {
		fmt.Fprintf(b.out, "\r\x1b[K%d %s, %.0f/s", n, b.of, rate)
		return
	}
	share := min(float64(far)/float64(b.size), 1)
	full := int(share * barWidth)
	fmt.Fprintf(b.out, "\r\x1b[K[%s%s] %3.0f %%  %d %s, %.0f/s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), share*100, n, b.of, rate)
}

// clear takes the bar away, for a line or the end.
func (b *bar) clear() {
	if b.drawn {
		fmt.Fprint(b.out, "\r\x1b[K")
		b.drawn = false
	}
}
