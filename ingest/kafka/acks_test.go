package kafka

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"

	"mailbeacon/internal/control"
)

// wiretap reads the requests of a connection.
type wiretap struct {
	net.Conn
	request func(b []byte)
	mu      sync.Mutex
	b       []byte
}

func (w *wiretap) Write(b []byte) (int, error) {
	w.mu.Lock()
	for w.b = append(w.b, b...); len(w.b) >= 4; {
		n := 4 + int(binary.BigEndian.Uint32(w.b))
		if len(w.b) < n {
			break
		}
		w.request(w.b[4:n])
		w.b = w.b[n:]
	}
	w.mu.Unlock()
	return w.Conn.Write(b)
}

// acksOf is what a request to append asks for; ok is false where it is another request.
func acksOf(t *testing.T, b []byte) (acks int16, ok bool) {
	at := 0
	short := func() int16 {
		v := int16(binary.BigEndian.Uint16(b[at:]))
		at += 2
		return v
	}
	if key, version := short(), short(); key != 0 {
		return 0, false
	} else if version < 3 || version > 8 {
		t.Errorf("Produce in version %d, which this test can't read", version)
		return 0, false
	}
	at += 4       // the request's number
	for range 2 { // the client's name, and the transaction's, which is null
		at += max(0, int(short()))
	}
	return short(), true
}

// TestAllAcknowledge: a record is acknowledged when all replicas in sync have it, and not when its leader alone has, which a single
// broker does not tell apart.
func TestAllAcknowledge(t *testing.T) {
	t.Parallel()
	c := shared(t)
	var mu sync.Mutex
	asked := map[int16]int{}
	c.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &wiretap{Conn: conn, request: func(b []byte) {
			if acks, ok := acksOf(t, b); ok {
				mu.Lock()
				asked[acks]++
				mu.Unlock()
			}
		}}, nil
	}
	expect := func(who string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if len(asked) != 1 || asked[-1] == 0 {
			t.Errorf("%s asked for so many requests by acknowledgements wanted: %v, want all (-1) alone", who, asked)
		}
		clear(asked)
	}
	r := newRig(t, c, 2)
	r.append(1000)
	r.shipAll()
	expect("the shipper")
	k := client(t, c)
	topic := ensure(t, k, ControlTopic(newTopic(t), 0))
	log := OpenControlLog(k, topic.Name, nil)
	defer log.Close()
	_, err := log.Append(t.Context(), control.Heartbeat())
	must(t, err)
	expect("the control log")
}
