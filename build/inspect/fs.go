package inspect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"mios/format/erofs"
	"mios/format/ext4"
	"mios/format/fsimage"
	"mios/format/targetfiles"
	"mios/internal/progress"
)

// isExt4 says whether what has ext4's two bytes is one: of a known revision and
// block size.
func isExt4(in *input) bool {
	if len(in.head) < 1024+84 {
		return false
	}
	sb, le := in.head[1024:], binary.LittleEndian
	return le.Uint32(sb[24:]) <= 6 && le.Uint32(sb[76:]) <= 1 && le.Uint32(sb) > 0
}

func (s *scan) erofs(in *input, r *Report) error {
	f, err := erofs.Open(in, in.size)
	if err != nil {
		return err
	}
	r.fact("file system", "%d blocks of %d, UUID %x", f.Blocks, f.BlockSize, f.UUID)
	r.fact("volume", "%s", f.VolumeName)
	r.fact("features", "%s", strings.Join(f.Features(), " "))
	s.files(f.FS, r)
	return nil
}

func (s *scan) ext4(in *input, r *Report) error {
	f, err := ext4.Open(in, in.size)
	if errors.Is(err, ext4.ErrJournal) || errors.Is(err, ext4.ErrUnsupported) {
		r.say(Note, "", "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	r.fact("file system", "%d blocks of %d, UUID %x", f.Blocks, f.BlockSize, f.UUID)
	r.fact("volume", "%s", f.VolumeName)
	r.fact("features", "%s", strings.Join(f.Features(), " "))
	s.files(f.FS, r)
	return nil
}

func (s *scan) f2fs(_ *input, r *Report) error {
	r.say(Note, "", "f2fs is not looked into: fsck.f2fs checks it")
	return nil
}

// maxFiles is how many files of an image are looked at without Options.Deep.
const maxFiles = 200_000

var errEnough = errors.New("enough files")

// files tells what a file system holds, and what in it says whom the device
// trusts.
func (s *scan) files(f *fsimage.FS, r *Report) {
	root, err := f.Root()
	if err != nil {
		r.fail(err, "")
		return
	}
	top := make(map[string]*Report)
	n, size := 0, int64(0)
	err = f.Walk("", root, func(name string, node fsimage.Node) error {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		i := node.Info()
		if name == "" {
			return nil
		}
		if n++; n > maxFiles && !s.o.Deep {
			return errEnough
		}
		if i.Mode.IsRegular() {
			size += i.Size
			s.trustedFile(f, node, name, r)
		}
		s.topFolder(r, top, name, fileSize(i), i.Mode.IsDir())
		if to, err := node.Target(); err == nil && top[name] != nil && i.Mode.Type() == fs.ModeSymlink {
			top[name].Summary = "link to " + to
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		r.skipped(fmt.Sprintf("more than %d files", maxFiles), why)
	case err != nil && isCancelled(err):
		return
	case err != nil:
		r.fail(err, "the file system is damaged: make it anew, or let fsck.erofs or e2fsck look at it")
	}
	sumFolders(r)
	r.Summary = strings.TrimPrefix(r.Summary+fmt.Sprintf(", %s, %s", count(n, "file"), progress.Size(size)), ", ")
}

func fileSize(i *fsimage.Info) int64 {
	if i.Mode.IsRegular() {
		return i.Size
	}
	return 0
}

// trustedFile looks at a file that says what the system is, or whom it trusts.
func (s *scan) trustedFile(f *fsimage.FS, n fsimage.Node, name string, r *Report) {
	base := name[strings.LastIndexByte(name, '/')+1:]
	build := base == "build.prop" && (name == base || name == "system/build.prop" || name == "etc/build.prop" || name == "system/etc/build.prop")
	if n.Info().Size > maxText || !build && base != "otacerts.zip" && !strings.HasSuffix(base, ".avbpubkey") {
		return
	}
	b, err := fs.ReadFile(f, name)
	if err != nil {
		r.fail(fmt.Errorf("%s: %w", name, err), "")
		return
	}
	switch {
	case build:
		s.propFacts(b, r)
	case base == "otacerts.zip":
		certs, err := targetfiles.ParseOTACerts(b)
		if err != nil {
			r.fail(fmt.Errorf("%s: %w", name, err), "")
			return
		}
		for _, c := range certs {
			if k, ok := testCertificate(c.Certificate); ok {
				r.testKey(name+": takes updates signed with", k)
			}
		}
	default:
		s.trusted(r, name, b)
	}
}

// trusted warns of a test key among those that a device trusts.
func (s *scan) trusted(r *Report, name string, blob []byte) {
	if k, ok := testAVBKey(blob); ok {
		r.testKey(name+": trusts images signed with", k)
	}
}
