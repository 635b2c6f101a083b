package fdroid

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// A spool is a temporary file without a name: what is written once and read
// several times, and too large to be kept in memory.
type spool struct {
	f    *os.File
	w    *bufio.Writer
	size int64
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "mios-fdroid-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &spool{f: f, w: bufio.NewWriterSize(f, 256<<10)}, nil
}

// Write implements [io.Writer].
func (s *spool) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("temporary file: %w", err)
	}
	return n, nil
}

// reader returns all that was written.
func (s *spool) reader() (*io.SectionReader, error) {
	if err := s.w.Flush(); err != nil {
		return nil, fmt.Errorf("temporary file: %w", err)
	}
	return io.NewSectionReader(s.f, 0, s.size), nil
}

// Close frees the file.
func (s *spool) Close() error { return s.f.Close() }

// spools opens n of them, and returns what closes them all.
func spools(n int) ([]*spool, func(), error) {
	var list []*spool
	closeAll := func() {
		for _, s := range list {
			s.Close() // it has no name: nothing is lost
		}
	}
	for range n {
		s, err := newSpool()
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		list = append(list, s)
	}
	return list, closeAll, nil
}
