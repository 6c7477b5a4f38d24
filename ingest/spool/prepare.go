package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// zeroChunk is how much of a segment is zeroed between two syncs: little enough that the commits in between
// do not wait long behind it.
const zeroChunk = 256 << 10

var zeros [zeroChunk]byte

var errStopped = errors.New("stopped")

// preparedFile is a segment's file before it has a header and its name.
type preparedFile struct {
	file   File
	name   string
	size   int64
	zeroed bool
}

// prepareSegments keeps one segment ready ahead of the committer. There is never more than one of them: asked for,
// under way, ready or taken; whoever takes it asks for the next when its file name is free again. Zeros are really written, not just
// reserved: a sync after overwriting such a block has no metadata to write, which makes it cheaper (README.md).
func (s *Spool) prepareSegments() {
	defer s.helpers.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := s.opt.retry
	for {
		select {
		case <-s.prepare:
		case <-s.stop:
			return
		}
		for {
			p, err := s.zeroedFile()
			if err == nil {
				pause = s.opt.retry
				s.prepared <- p
				break
			}
			// Nothing is lost: the committer makes do with a file that grows.
			s.stats.prepareFailed.Add(1)
			timer.Reset(pause)
			pause = min(2*pause, 10*maxRetry)
			select {
			case <-timer.C:
			case <-s.stop:
				return
			}
		}
	}
}

// zeroedFile creates the next segment's file. On a failure it leaves nothing behind that takes space.
func (s *Spool) zeroedFile() (*preparedFile, error) {
	f, err := s.fs.Create(s.path(nextTmp))
	if err != nil {
		return nil, err
	}
	if err := s.zero(f); err != nil {
		_ = f.Close()                    // the failure before is the news
		_ = s.fs.Remove(s.path(nextTmp)) // Open clears it away otherwise
		return nil, err
	}
	return &preparedFile{file: f, name: nextTmp, size: s.opt.SegmentBytes, zeroed: true}, nil
}

func (s *Spool) zero(f File) error {
	size := s.opt.SegmentBytes
	// One extent if the file system can, and a full disk is known before the first byte.
	if err := f.Allocate(size); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for off := int64(0); off < size; off += zeroChunk {
		select {
		case <-s.stop:
			return errStopped
		default:
		}
		if err := writeFull(f, zeros[:min(zeroChunk, size-off)], off); err != nil {
			return err
		}
		if err := f.Datasync(); err != nil {
			return err
		}
	}
	return nil
}

// takePrepared returns the prepared file, or one that is made on the spot.
func (s *Spool) takePrepared() (*preparedFile, error) {
	select {
	case p := <-s.prepared:
		return p, nil
	default:
	}
	return s.plainFile()
}

// askPrepared asks for the next file: one that was prepared has another name now, or is given up.
func (s *Spool) askPrepared(p *preparedFile) {
	if p.zeroed {
		s.prepare <- struct{}{}
	}
}

// discardPrepared gives a file up after a failure, which is the news.
func (s *Spool) discardPrepared(p *preparedFile) {
	_ = p.file.Close()
	s.askPrepared(p)
}

// plainFile makes a file that grows with what is written to it.
func (s *Spool) plainFile() (*preparedFile, error) {
	f, err := s.fs.Create(s.path(plainTmp))
	if err != nil {
		return nil, err
	}
	return &preparedFile{file: f, name: plainTmp, size: headerSize}, nil
}

// removePrepared clears away what nobody will use any more.
func (s *Spool) removePrepared() error {
	select {
	case p := <-s.prepared:
		_ = p.file.Close() // it holds zeros
	default:
	}
	for _, name := range []string{nextTmp, plainTmp, identityTmp} {
		if err := s.fs.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("spool: remove %s: %w", name, err)
		}
	}
	return nil
}
