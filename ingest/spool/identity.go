package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"time"
)

const (
	identityName = "identity"
	identitySize = 32
)

var identityMagic = [4]byte{0xF7, 'M', 'B', 'I'}

// identity is whose events a folder holds. The edge is drawn once; the epoch grows whenever numbering
// starts anew, so that (edge, epoch, sequence) names one event for ever.
type identity struct {
	edge, epoch uint64
}

func (id identity) encode() []byte {
	b := make([]byte, identitySize)
	copy(b, identityMagic[:])
	b[4] = formatVersion
	binary.LittleEndian.PutUint64(b[8:], id.edge)
	binary.LittleEndian.PutUint64(b[16:], id.epoch)
	binary.LittleEndian.PutUint32(b[identitySize-4:], crc32.Checksum(b[:identitySize-4], castagnoli))
	return b
}

var errIdentity = errors.New("identity fails its checksum or holds impossible values")

func parseIdentity(b []byte) (identity, error) {
	if len(b) < identitySize || [4]byte(b) != identityMagic ||
		crc32.Checksum(b[:identitySize-4], castagnoli) != binary.LittleEndian.Uint32(b[identitySize-4:]) {
		return identity{}, errIdentity
	}
	if b[4] > formatVersion {
		return identity{}, ErrNewer
	}
	if b[4] != formatVersion || !allZero(b[5:8]) || !allZero(b[24:identitySize-4]) {
		return identity{}, errIdentity
	}
	return identity{binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}, nil
}

// newIdentity draws an edge (never 0).
func newIdentity(now time.Time) identity {
	var b [8]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return identity{edge: binary.LittleEndian.Uint64(b[:]) | 1, epoch: nextEpoch(0, now)}
}

// nextEpoch is an epoch after a former one: the time, unless the clock went back.
func nextEpoch(former uint64, now time.Time) uint64 {
	return max(former+1, uint64(max(now.UnixMilli(), 1)))
}

// readIdentity reads the folder's identity file: found is false where there is none, errIdentity
// says that its bytes are no identity.
func readIdentity(fsys FS, path string) (id identity, found bool, err error) {
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, fmt.Errorf("spool: open the identity file: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	size, err := f.Size()
	if err != nil {
		return identity{}, false, fmt.Errorf("spool: size of the identity file: %w", err)
	}
	b := make([]byte, min(size, identitySize))
	if _, err := readFull(f, b, 0); err != nil {
		return identity{}, false, fmt.Errorf("spool: read the identity file: %w", err)
	}
	id, err = parseIdentity(b)
	return id, true, err
}

// writeIdentity puts the identity in place durably.
func (s *Spool) writeIdentity(id identity) error {
	err := s.writeIdentityTmp(id)
	if err == nil {
		err = s.fs.Rename(s.path(identityTmp), s.path(identityName))
	}
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("spool: write the identity file: %w", err)
	}
	return nil
}

func (s *Spool) writeIdentityTmp(id identity) error {
	f, err := s.fs.Create(s.path(identityTmp))
	if err != nil {
		return err
	}
	err = writeFull(f, id.encode(), 0)
	if err == nil {
		err = f.Datasync()
	}
	return errors.Join(err, f.Close())
}
