package control

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"time"

	"mailbeacon/internal/datadir"
)

// The snapshot file; FORMAT.md beside is its specification.
const (
	snapshotMagic   = "MBCTLSNP"
	snapshotVersion = 1
	snapshotHeader  = 8 + 4 + 8 + 4 + 4 + 4 // magic, version, position, fingerprint, folders, CRC
	maxFolderName   = 32
	maxFolders      = 64
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errDamaged = errors.New("damaged")
	errNewer   = errors.New("written by a newer mailbeacon")
)

// section is one folder's part of a snapshot.
type section struct {
	name string
	data []byte
}

// snapshot is the content of a snapshot file.
type snapshot struct {
	position    Position
	fingerprint uint32
	sections    []section
}

// fingerprint tells entries at the same position of different logs apart.
func fingerprint(e *Entry) uint32 {
	var n [8]byte
	sum := crc32.Update(0, castagnoli, []byte(e.Kind))
	sum = crc32.Update(sum, castagnoli, []byte{0})
	sum = crc32.Update(sum, castagnoli, []byte(e.Key))
	binary.BigEndian.PutUint64(n[:], uint64(e.Time.UnixMilli()))
	sum = crc32.Update(sum, castagnoli, n[:])
	return crc32.Update(sum, castagnoli, e.Body)
}

func (s *snapshot) encode() []byte {
	size := snapshotHeader
	for _, sec := range s.sections {
		size += 1 + len(sec.name) + 8 + 4 + len(sec.data)
	}
	b := make([]byte, 0, size)
	b = append(b, snapshotMagic...)
	b = binary.BigEndian.AppendUint32(b, snapshotVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(s.position))
	b = binary.BigEndian.AppendUint32(b, s.fingerprint)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.sections)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	for _, sec := range s.sections {
		start := len(b)
		b = append(b, byte(len(sec.name)))
		b = append(b, sec.name...)
		b = binary.BigEndian.AppendUint64(b, uint64(len(sec.data)))
		sum := crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, sec.data)
		b = binary.BigEndian.AppendUint32(b, sum)
		b = append(b, sec.data...)
	}
	return b
}

// parseSnapshot reads a whole snapshot file; the sections point into b. Its errors wrap errDamaged
// or errNewer and say where.
func parseSnapshot(b []byte) (*snapshot, error) {
	if len(b) < snapshotHeader {
		return nil, fmt.Errorf("%w: %d bytes are too few for its header", errDamaged, len(b))
	}
	if string(b[:8]) != snapshotMagic {
		return nil, fmt.Errorf("%w: it does not begin as a snapshot", errDamaged)
	}
	// The version comes before the checksum: a newer version may have another header.
	if v := binary.BigEndian.Uint32(b[8:]); v > snapshotVersion {
		return nil, fmt.Errorf("%w: version %d, this one knows %d", errNewer, v, snapshotVersion)
	} else if v != snapshotVersion {
		return nil, fmt.Errorf("%w: version %d never was", errDamaged, v)
	}
	head := b[:snapshotHeader-4]
	if binary.BigEndian.Uint32(b[snapshotHeader-4:]) != crc32.Checksum(head, castagnoli) {
		return nil, fmt.Errorf("%w: checksum of the header", errDamaged)
	}
	s := &snapshot{position: Position(binary.BigEndian.Uint64(b[12:])), fingerprint: binary.BigEndian.Uint32(b[20:])}
	count := binary.BigEndian.Uint32(b[24:])
	if count > maxFolders {
		return nil, fmt.Errorf("%w: %d sections", errDamaged, count)
	}
	at := snapshotHeader
	for range count {
		sec, n, err := parseSection(b[at:])
		if err != nil {
			return nil, fmt.Errorf("%w, in the section at byte %d", err, at)
		}
		s.sections = append(s.sections, sec)
		at += n
	}
	if at != len(b) {
		return nil, fmt.Errorf("%w: %d bytes after the last section", errDamaged, len(b)-at)
	}
	return s, nil
}

func parseSection(b []byte) (section, int, error) {
	if len(b) < 1 || len(b) < 1+int(b[0])+12 {
		return section{}, 0, fmt.Errorf("%w: cut off", errDamaged)
	}
	name := b[1 : 1+int(b[0])]
	if len(name) == 0 || len(name) > maxFolderName {
		return section{}, 0, fmt.Errorf("%w: a name of %d bytes", errDamaged, len(name))
	}
	head := b[:1+len(name)+8]
	size := binary.BigEndian.Uint64(head[1+len(name):])
	rest := b[len(head)+4:]
	if size > uint64(len(rest)) {
		return section{}, 0, fmt.Errorf("%w: cut off", errDamaged)
	}
	data := rest[:size:size]
	if binary.BigEndian.Uint32(b[len(head):]) != crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, data) {
		return section{}, 0, fmt.Errorf("%w: checksum of %q", errDamaged, name)
	}
	return section{string(name), data}, len(head) + 4 + len(data), nil
}

// restore brings the folders to the snapshot's state, or to the empty one where it can't be used.
// It returns an error only where the file can't be read or put aside.
func (f *Follower) restore() error {
	if f.o.Snapshot == "" {
		return nil
	}
	b, err := os.ReadFile(f.o.Snapshot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the control snapshot: %w", err)
	}
	s, err := parseSnapshot(b)
	if err == nil {
		complete := false
		if complete, err = f.restoreFolders(s); err == nil {
			if complete {
				f.last = s.fingerprint
				f.applied.Store(uint64(s.position))
				f.news.pos.Store(uint64(s.position))
				f.saved.Store(uint64(s.position))
			}
			return nil
		}
	}
	if cerr := f.clear(); cerr != nil {
		return fmt.Errorf("restore the control snapshot: %w, after: %w", cerr, err)
	}
	return f.putAside(err)
}

// restoreFolders restores every folder, or reports that the snapshot is not of all of them: a
// snapshot of an older build is no fault, but the state must come from the log then.
func (f *Follower) restoreFolders(s *snapshot) (complete bool, err error) {
	data := map[string][]byte{}
	for _, sec := range s.sections {
		data[sec.name] = sec.data
	}
	for _, folder := range f.o.Folders {
		if _, ok := data[folder.Name()]; !ok {
			f.log.Info("control snapshot lacks a part; folding the control log from its start", "file", f.o.Snapshot, "folder", folder.Name())
			return false, nil
		}
	}
	for _, folder := range f.o.Folders {
		if err := folder.Restore(data[folder.Name()]); err != nil {
			return false, fmt.Errorf("%w: part %q: %w", errDamaged, folder.Name(), err)
		}
	}
	return true, nil
}

// clear brings every folder to the empty state.
func (f *Follower) clear() error {
	for _, folder := range f.o.Folders {
		if err := folder.Restore(nil); err != nil {
			return fmt.Errorf("empty folder %q: %w", folder.Name(), err)
		}
	}
	return nil
}

// putAside renames the snapshot to a free .bad name: it may be wanted, by a person or by the newer
// build that wrote it.
func (f *Follower) putAside(why error) error {
	bad := f.o.Snapshot + ".bad"
	for n := 1; ; n++ {
		if _, err := os.Lstat(bad); errors.Is(err, fs.ErrNotExist) {
			break
		}
		bad = fmt.Sprintf("%s.%d.bad", f.o.Snapshot, n)
	}
	if err := os.Rename(f.o.Snapshot, bad); err != nil {
		return fmt.Errorf("put the control snapshot aside (%w): %w", why, err)
	}
	f.log.Warn("control snapshot can't be used; put aside, folding the control log from its start", "file", bad, "error", why)
	return nil
}

// errHeld: no snapshot may be written now.
var errHeld = errors.New("held")

// Save writes a snapshot of what is folded now, and none where Hold says so. It may be called at any time; Run does so by
// itself when one is due.
func (f *Follower) Save() error {
	if f.o.Snapshot == "" {
		return nil
	}
	f.saving.Lock()
	defer f.saving.Unlock()
	start := time.Now()
	s, news, err := f.take()
	if errors.Is(err, errHeld) {
		return nil
	}
	if err == nil {
		err = datadir.WriteFile(f.o.Snapshot, s.encode(), 0o600)
	}
	f.savedAt, f.saveTook = time.Now(), time.Since(start)
	if err != nil {
		f.saveFails.Add(1)
		return fmt.Errorf("write the control snapshot: %w", err)
	}
	f.saved.Store(uint64(s.position))
	f.news.unsaved.Add(-news)
	return nil
}

// take is the state, and how much of it is news.
func (f *Follower) take() (*snapshot, uint64, error) {
	f.folding.Lock()
	defer f.folding.Unlock()
	if f.held() { // asked where nothing is folded: whoever asked before may have missed what came since
		return nil, 0, errHeld
	}
	s := &snapshot{position: f.Applied(), fingerprint: f.last}
	for _, folder := range f.o.Folders {
		data, err := folder.Snapshot()
		if err != nil {
			return nil, 0, fmt.Errorf("folder %q: %w", folder.Name(), err)
		}
		s.sections = append(s.sections, section{folder.Name(), data})
	}
	return s, f.news.unsaved.Load(), nil
}

// saveWhenDue writes snapshots until ctx ends: once enough was folded or enough time went by, but
// never more often than their cost allows.
func (f *Follower) saveWhenDue(ctx context.Context) {
	if f.o.Snapshot == "" {
		return
	}
	failed := false
	for {
		rung := f.dueBell.C()
		wait := f.untilDue()
		if wait <= 0 && f.held() {
			wait = time.Second
		}
		if wait <= 0 {
			if err := f.Save(); err == nil {
				failed = false
			} else if !failed {
				failed = true
				f.log.Error("control snapshot fails; trying again later, the control log holds everything", "error", err)
			}
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-rung:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// untilDue is the time until the next snapshot should be written, as things stand.
func (f *Follower) untilDue() time.Duration {
	f.saving.Lock()
	at, took := f.savedAt, f.saveTook
	f.saving.Unlock()
	since := time.Since(at)
	rest := max(snapshotShare*took, time.Second) - since
	// Heartbeats alone make none due; Close writes down that they were passed.
	switch folded := f.news.unsaved.Load(); {
	case folded >= uint64(f.o.SnapshotEntries):
		return rest
	case folded > 0:
		return max(rest, f.o.SnapshotInterval-since)
	default:
		return f.o.SnapshotInterval
	}
}
