package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
)

// A fetch that takes too long asks for less the next time, and for more again once it comes through.
func TestRoom(t *testing.T) {
	t.Parallel()
	late := fmt.Errorf("fetch: %w", context.DeadlineExceeded)
	r := room{most: 1 << 20}
	for i, step := range []struct {
		err  error
		want int64
	}{
		{nil, 1 << 20}, {late, 256 << 10}, {fmt.Errorf("read: %w", os.ErrDeadlineExceeded), 64 << 10}, {errors.New("refused"), 64 << 10},
		{late, 16 << 10}, {late, 16 << 10}, {nil, 32 << 10}, {nil, 64 << 10}, {nil, 128 << 10}, {nil, 256 << 10}, {nil, 512 << 10}, {nil, 1 << 20}, {nil, 1 << 20},
	} {
		if r.learn(step.err); r.bytes() != step.want {
			t.Errorf("step %d: %d bytes after %v, want %d", i, r.bytes(), step.err, step.want)
		}
	}
	small := room{most: 100}
	for _, err := range []error{nil, late, nil} {
		if small.learn(err); small.bytes() != 100 {
			t.Errorf("%d bytes after %v, want the 100 that were asked for", small.bytes(), err)
		}
	}
}
