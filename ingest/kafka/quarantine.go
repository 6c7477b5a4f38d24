package kafka

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// The quarantine file; FORMAT.md is its specification.
const (
	entryVersion = 1
	entryHeader  = 64
	wholeRecord  = 1<<32 - 1 // an index that means the record, not one of its events

	// DefaultQuarantineBytes bounds the file.
	DefaultQuarantineBytes = 64 << 20
)

var entryMagic = [4]byte{0xF9, 'M', 'B', 'Q'}

// Quarantine is the file in which records are kept that are not ours, or damaged, for a person to look at.
// Its methods may be called concurrently.
type Quarantine struct {
	path  string
	limit int64

	mu   sync.Mutex
	f    quarantineFile
	size int64
	last map[partitionID]mark // what was kept last of each partition

	count atomic.Uint64
}

// quarantineFile is an *os.File; tests put faults in its place.
type quarantineFile interface {
	io.WriterAt
	io.Closer
	Sync() error
}

// partitionID is a partition of one life of a topic.
type partitionID struct {
	topic     TopicID
	partition uint32
}

// mark is how far a partition was looked through.
type mark struct {
	offset int64
	index  uint32
}

// entry is one thing that was set aside.
type entry struct {
	topic     TopicID
	partition uint32
	index     uint32
	offset    int64
	content   []byte
}

// OpenQuarantine opens the file, and makes it (mode 0600) where it is missing. An end that a crash cut
// short is cut off: the record is still in the topic, and will be set aside again.
func OpenQuarantine(path string) (*Quarantine, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the quarantine: %w", err)
	}
	q := &Quarantine{path: path, limit: DefaultQuarantineBytes, f: f, last: map[partitionID]mark{}}
	r := bufio.NewReader(f)
	for {
		e, n, err := readEntry(r)
		if err != nil {
			break
		}
		q.size += n
		q.last[partitionID{e.topic, e.partition}] = mark{e.offset, e.index}
	}
	if err := f.Truncate(q.size); err != nil {
		f.Close()
		return nil, fmt.Errorf("open the quarantine: %w", err)
	}
	return q, nil
}

// keep writes an entry durably, unless it was kept before or there is no room left: then it is
// counted alone. It reports whether the file holds it.
func (q *Quarantine) keep(e entry) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	where, now := partitionID{e.topic, e.partition}, mark{e.offset, e.index}
	if last, ok := q.last[where]; ok && !last.before(now) {
		return true, nil
	}
	b := e.encode(time.Now())
	kept := q.size+int64(len(b)) <= q.limit
	if kept {
		if _, err := q.f.WriteAt(b, q.size); err != nil {
			return false, err
		}
		if err := q.f.Sync(); err != nil {
			return false, err
		}
		q.size += int64(len(b))
	}
	q.last[where] = now
	q.count.Add(1)
	return kept, nil
}

func (m mark) before(o mark) bool {
	return m.offset < o.offset || m.offset == o.offset && m.index < o.index
}

// Count is how much was set aside since the start.
func (q *Quarantine) Count() uint64 { return q.count.Load() }

// Close closes the file.
func (q *Quarantine) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.f.Close()
}

func (e *entry) encode(now time.Time) []byte {
	b := make([]byte, entryHeader, entryHeader+len(e.content))
	copy(b, entryMagic[:])
	b[4] = entryVersion
	copy(b[8:], e.topic[:])
	binary.LittleEndian.PutUint32(b[24:], e.partition)
	binary.LittleEndian.PutUint32(b[28:], e.index)
	binary.LittleEndian.PutUint64(b[32:], uint64(e.offset))
	binary.LittleEndian.PutUint64(b[40:], uint64(now.UnixMilli()))
	binary.LittleEndian.PutUint32(b[48:], uint32(len(e.content)))
	binary.LittleEndian.PutUint32(b[52:], crc32.Checksum(e.content, castagnoli))
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return append(b, e.content...)
}

var errEntry = errors.New("kafka: damaged quarantine entry")

// readEntry reads one entry and says how long it is.
func readEntry(r io.Reader) (e entry, n int64, err error) {
	var h [entryHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return e, 0, err
	}
	if [4]byte(h[:]) != entryMagic || h[4] != entryVersion || crc32.Checksum(h[:60], castagnoli) != binary.LittleEndian.Uint32(h[60:]) {
		return e, 0, errEntry
	}
	size := binary.LittleEndian.Uint32(h[48:])
	if size > 1<<30 {
		return e, 0, errEntry
	}
	e.topic = TopicID(h[8:])
	e.partition = binary.LittleEndian.Uint32(h[24:])
	e.index = binary.LittleEndian.Uint32(h[28:])
	e.offset = int64(binary.LittleEndian.Uint64(h[32:]))
	e.content = make([]byte, size)
	if _, err := io.ReadFull(r, e.content); err != nil {
		return e, 0, err
	}
	if crc32.Checksum(e.content, castagnoli) != binary.LittleEndian.Uint32(h[52:]) {
		return e, 0, errEntry
	}
	return e, entryHeader + int64(size), nil
}
