package adbd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mios/format/adb"
)

// A syncer serves file transfers on one stream.
//
// AOSP: packages/modules/adb/daemon/file_sync_service.cpp, SYNC.TXT.
type syncer struct {
	s   *Server
	st  *stream
	out []byte // recycled: answers
}

// serveSync answers requests until the host quits. A request that fails is
// answered with FAIL and the next one is served.
func serveSync(s *Server, st *stream) error {
	if err := st.accept(); err != nil {
		return err
	}
	y := &syncer{s: s, st: st}
	for {
		id, path, err := adb.ReadSyncRequest(st)
		if errors.Is(err, io.EOF) || id == adb.SyncQuit {
			return nil
		}
		if err == nil {
			err = y.request(id, path)
		}
		if err != nil {
			y.fail(err)
			return err
		}
	}
}

// request serves one request. Its error ends the session.
func (y *syncer) request(id adb.SyncID, path string) error {
	switch id {
	case adb.SyncStat:
		st, _ := y.stat(path, os.Lstat)
		return y.write(st.AppendV1(y.out[:0], id))
	case adb.SyncStat2, adb.SyncLst2:
		stat := os.Lstat
		if id == adb.SyncStat2 {
			stat = os.Stat
		}
		st, err := y.stat(path, stat)
		if err != nil {
			st = adb.Stat{Error: errno(err)}
		}
		return y.write(st.AppendV2(y.out[:0], id))
	case adb.SyncList:
		return y.list(path, adb.SyncDent)
	case adb.SyncList2:
		return y.list(path, adb.SyncDent2)
	case adb.SyncSend:
		name, mode, err := splitMode(path)
		if err != nil {
			return err
		}
		return y.receive(name, mode)
	case adb.SyncSend2:
		var setup [2]uint32 // mode, flags
		if err := adb.ReadSyncSetup(y.st, id, setup[:]); err != nil {
			return err
		}
		if setup[1] != 0 {
			return fmt.Errorf("send with flags %#x: this device takes no compression", setup[1])
		}
		return y.receive(path, setup[0])
	case adb.SyncRecv2:
		var flags [1]uint32
		if err := adb.ReadSyncSetup(y.st, id, flags[:]); err != nil {
			return err
		}
		if flags[0] != 0 {
			return fmt.Errorf("receive with flags %#x: this device gives no compression", flags[0])
		}
		return y.send(path)
	case adb.SyncRecv:
		return y.send(path)
	}
	return fmt.Errorf("sync: unknown request %q", id.String())
}

func (y *syncer) write(b []byte) error {
	y.out = b[:0]
	_, err := y.st.Write(b)
	return err
}

func (y *syncer) fail(err error) error {
	return y.write(adb.AppendSyncString(y.out[:0], adb.SyncFail, err.Error()))
}

func (y *syncer) stat(path string, stat func(string) (fs.FileInfo, error)) (adb.Stat, error) {
	fi, err := stat(y.s.path(path))
	if err != nil {
		return adb.Stat{}, err
	}
	sys, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return adb.Stat{}, fs.ErrInvalid
	}
	return adb.Stat{Dev: sys.Dev, Ino: sys.Ino, Mode: sys.Mode, Nlink: uint32(sys.Nlink), UID: sys.Uid, GID: sys.Gid,
		Size: uint64(sys.Size), Atime: sys.Atim.Sec, Mtime: sys.Mtim.Sec, Ctime: sys.Ctim.Sec}, nil
}

func errno(err error) uint32 {
	var e syscall.Errno
	if errors.As(err, &e) {
		return uint32(e)
	}
	return uint32(syscall.EIO)
}

// list sends the entries of a folder, as AOSP with "." and ".."; of one that
// cannot be read, none.
func (y *syncer) list(path string, id adb.SyncID) error {
	b := y.out[:0]
	d, err := os.Open(y.s.path(path))
	if err == nil {
		defer d.Close()
		names := []string{".", ".."}
		for err == nil {
			for _, name := range names {
				st, err := y.stat(path+"/"+name, os.Lstat)
				if err != nil {
					if id == adb.SyncDent {
						continue
					}
					st = adb.Stat{Error: errno(err)}
				}
				b = st.AppendDent(b, id, name)
			}
			if len(b) > outputSize {
				if err := y.write(b); err != nil {
					return err
				}
				b = b[:0]
			}
			names, err = d.Readdirnames(256)
		}
	}
	return y.write(adb.AppendListDone(b, id))
}

// send sends a file: DATA of at most SyncMaxData bytes, as many as fit a
// message, and DONE.
func (y *syncer) send(path string) error {
	f, err := os.Open(y.s.path(path))
	if err != nil {
		return y.fail(err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		return y.fail(fmt.Errorf("read %s: is a directory", path))
	}
	pooled := payloads.Get().(*[]byte)
	defer payloads.Put(pooled)
	buf := (*pooled)[:0]
	for {
		if cap(buf)-len(buf) < adb.SyncHeaderSize+adb.SyncMaxData {
			if _, err := y.st.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		at := len(buf)
		data := buf[at+adb.SyncHeaderSize : at+adb.SyncHeaderSize+adb.SyncMaxData]
		n, err := f.Read(data)
		if n > 0 {
			buf = adb.AppendSync(buf, adb.SyncData, uint32(n))
			buf = buf[:len(buf)+n]
			continue
		}
		switch {
		case err == io.EOF:
			buf = adb.AppendSync(buf, adb.SyncDone, 0)
		case err != nil:
			buf = adb.AppendSyncString(buf, adb.SyncFail, err.Error())
		default:
			continue
		}
		_, err = y.st.Write(buf)
		return err
	}
}

// splitMode splits the "PATH,MODE" of a SEND; the mode is decimal st_mode.
func splitMode(path string) (string, uint32, error) {
	at := strings.LastIndexByte(path, ',')
	if at < 0 {
		return "", 0, fmt.Errorf("send %s: no mode after a comma", path)
	}
	mode, err := strconv.ParseUint(path[at+1:], 0, 32)
	if err != nil {
		return "", 0, fmt.Errorf("send %s: mode: %v", path, err)
	}
	return path[:at], uint32(mode), nil
}

// receive writes what the host sends to a file, or makes a link of it. After a
// failure it reads on to DONE, so that the host gets to the answer.
func (y *syncer) receive(path string, mode uint32) error {
	var err error
	if mode&syscall.S_IFMT == syscall.S_IFLNK {
		err = y.receiveLink(y.s.path(path))
	} else {
		err = y.receiveFile(y.s.path(path), fs.FileMode(mode&0o777))
	}
	var broken *streamError
	switch {
	case errors.As(err, &broken):
		return err
	case err == nil:
		return y.write(adb.AppendSync(y.out[:0], adb.SyncOkay, 0))
	}
	if err := y.fail(err); err != nil {
		return err
	}
	return nil
}

// A streamError is one after which the session cannot go on.
type streamError struct{ err error }

func (e *streamError) Error() string { return e.err.Error() }
func (e *streamError) Unwrap() error { return e.err }

// data calls write with each piece of the DATA messages up to DONE, and returns
// DONE's time. After write has failed it reads on without it.
func (y *syncer) data(write func([]byte) error) (mtime time.Time, err error) {
	for {
		id, n, rerr := adb.ReadSyncHeader(y.st)
		switch {
		case rerr != nil:
			return mtime, &streamError{fmt.Errorf("sync: %w", rerr)}
		case id == adb.SyncDone:
			return time.Unix(int64(n), 0), err
		case id != adb.SyncData:
			return mtime, &streamError{fmt.Errorf("sync: %q inside of a file", id.String())}
		case n > adb.SyncMaxData:
			return mtime, &streamError{fmt.Errorf("sync: data of %d bytes, at most %d", n, adb.SyncMaxData)}
		}
		for left := int(n); left > 0; {
			b, rerr := y.st.next(left)
			if rerr != nil {
				return mtime, &streamError{fmt.Errorf("sync: %w", rerr)}
			}
			left -= len(b)
			if err == nil && write != nil {
				err = write(b)
			}
		}
	}
}

// discard reads to DONE and returns the error it was given, or a worse one.
func (y *syncer) discard(err error) error {
	if _, rerr := y.data(nil); rerr != nil {
		return rerr
	}
	return err
}

// receiveFile writes beside the file and renames, so that the file is the old
// one or the new one. What is no regular file, such as a device, is written in place.
func (y *syncer) receiveFile(path string, perm fs.FileMode) error {
	fi, err := os.Lstat(path)
	switch {
	case err == nil && fi.IsDir():
		return y.discard(fmt.Errorf("write %s: is a directory", path))
	case err == nil && !fi.Mode().IsRegular() && fi.Mode()&fs.ModeSymlink == 0:
		return y.receiveInPlace(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o775); err != nil {
		return y.discard(err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".adb-push-*")
	if err != nil {
		return y.discard(err)
	}
	defer os.Remove(f.Name()) // gone after the rename
	defer f.Close()
	mtime, err := y.data(func(b []byte) error {
		_, err := f.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(perm), f.Close(), os.Chtimes(f.Name(), mtime, mtime)); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (y *syncer) receiveInPlace(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return y.discard(err)
	}
	defer f.Close()
	_, err = y.data(func(b []byte) error {
		_, err := f.Write(b)
		return err
	})
	return err
}

// receiveLink makes a symbolic link to what the data says.
func (y *syncer) receiveLink(path string) error {
	var target []byte
	mtime, err := y.data(func(b []byte) error {
		if target = append(target, b...); len(target) > adb.SyncMaxPath {
			return fmt.Errorf("link %s: target of more than %d bytes", path, adb.SyncMaxPath)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o775); err != nil {
		return err
	}
	if fi, err := os.Lstat(path); err == nil && !fi.IsDir() {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := os.Symlink(strings.TrimRight(string(target), "\x00"), path); err != nil {
		return err
	}
	t := unix.NsecToTimeval(mtime.UnixNano())
	return unix.Lutimes(path, []unix.Timeval{t, t})
}
