package adb

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A ShellID says what a packet of the shell protocol ("shell,v2:") is.
type ShellID byte

// The packets of the shell protocol.
const (
	ShellStdin      ShellID = 0
	ShellStdout     ShellID = 1
	ShellStderr     ShellID = 2
	ShellExit       ShellID = 3 // one byte: the exit status
	ShellCloseStdin ShellID = 4
	ShellWindowSize ShellID = 5 // see WindowSize
)

// ShellHeaderSize is the size in bytes of what precedes a packet's data.
const ShellHeaderSize = 5

// AppendShellHeader appends the header of a packet with n bytes of data.
func AppendShellHeader(b []byte, id ShellID, n int) []byte {
	return binary.LittleEndian.AppendUint32(append(b, byte(id)), uint32(n))
}

// AppendShell appends a packet to b.
func AppendShell(b []byte, id ShellID, data []byte) []byte {
	return append(AppendShellHeader(b, id, len(data)), data...)
}

// A ShellReader reads packets from R. A packet may be of any length: data that
// does not fit the caller's buffer comes with the following calls, under the
// same id.
type ShellReader struct {
	R    io.Reader
	id   ShellID
	left uint32
}

// Next reads the next packet, or the next part of one, into buf, which must
// not be empty, and returns how much of buf is data. It returns io.EOF only
// between two packets.
func (s *ShellReader) Next(buf []byte) (ShellID, int, error) {
	if s.left == 0 {
		var h [ShellHeaderSize]byte
		if _, err := io.ReadFull(s.R, h[:]); err != nil {
			return 0, 0, err
		}
		s.id, s.left = ShellID(h[0]), binary.LittleEndian.Uint32(h[1:])
		if s.id > ShellWindowSize {
			return 0, 0, formatErr(0, "shell packet %d", s.id)
		}
	}
	n := min(int64(len(buf)), int64(s.left))
	if _, err := io.ReadFull(s.R, buf[:n]); err != nil {
		return 0, 0, noEOF(err)
	}
	s.left -= uint32(n)
	return s.id, int(n), nil
}

// A WindowSize is the size of a terminal in characters and in pixels.
type WindowSize struct{ Rows, Cols, X, Y uint16 }

// String returns the size as a packet's data, without the NUL that follows it.
func (w WindowSize) String() string { return fmt.Sprintf("%dx%d,%dx%d", w.Rows, w.Cols, w.X, w.Y) }

// ParseWindowSize reads the data of a ShellWindowSize packet.
func ParseWindowSize(data []byte) (WindowSize, error) {
	var w WindowSize
	if len(data) > 0 && data[len(data)-1] == 0 {
		data = data[:len(data)-1]
	}
	if _, err := fmt.Sscanf(string(data), "%dx%d,%dx%d", &w.Rows, &w.Cols, &w.X, &w.Y); err != nil || w.String() != string(data) {
		return WindowSize{}, formatErr(ShellHeaderSize, "window size %.40q, want ROWSxCOLS,XxY", data)
	}
	return w, nil
}
