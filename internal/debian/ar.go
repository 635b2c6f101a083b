package debian

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/therootcompany/xz"
)

// FormatError says where a package breaks the format deb(5) and why.
type FormatError struct {
	Off int64
	Msg string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("deb: offset %#x: %s", e.Off, e.Msg)
}

const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	// maxTar bounds what a package unpacks to: Debian's largest kernel is 0.4 GiB.
	maxTar = 2 << 30
	// xzDict is the largest dictionary that a package may ask for: xz -9 uses 64 MiB.
	xzDict = 64 << 20
)

// arMember is a member of the outer archive.
type arMember struct {
	name string
	data *io.SectionReader
}

// arMembers reads the outer archive of a Debian package: deb(5) has
// debian-binary, control.tar.*, data.tar.*, in this order.
func arMembers(r io.ReaderAt, size int64) ([]arMember, error) {
	magic := make([]byte, len(arMagic))
	if _, err := r.ReadAt(magic, 0); err != nil || string(magic) != arMagic {
		return nil, &FormatError{0, "not an ar archive"}
	}
	var out []arMember
	for off := int64(len(arMagic)); off < size; {
		var h [arHeaderSize]byte
		if _, err := r.ReadAt(h[:], off); err != nil {
			return nil, &FormatError{off, "member header is cut off"}
		}
		if h[58] != '`' || h[59] != '\n' {
			return nil, &FormatError{off + 58, "member header does not end with its magic"}
		}
		n, err := strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
		if err != nil || n < 0 || n > size-off-arHeaderSize {
			return nil, &FormatError{off + 48, "member size is not a number within the file"}
		}
		if len(out) == 16 {
			return nil, &FormatError{off, "more than 16 members"}
		}
		name := strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/")
		out = append(out, arMember{name, io.NewSectionReader(r, off+arHeaderSize, n)})
		off += arHeaderSize + n + n&1
	}
	return out, nil
}

// openTar returns the uncompressed tar of the member whose name begins with
// prefix, such as "data.tar".
func openTar(members []arMember, prefix string) (io.Reader, error) {
	if len(members) == 0 || members[0].name != "debian-binary" {
		return nil, &FormatError{int64(len(arMagic)), "first member is not debian-binary"}
	}
	for _, m := range members {
		ext, ok := strings.CutPrefix(m.name, prefix)
		if !ok {
			continue
		}
		data := io.NewSectionReader(m.data, 0, m.data.Size())
		switch ext {
		case "":
			return data, nil
		case ".gz":
			return gzip.NewReader(data)
		case ".xz":
			return xz.NewReader(data, xzDict)
		}
		return nil, fmt.Errorf("deb: %s: compression %q is not known", m.name, ext)
	}
	return nil, fmt.Errorf("deb: no member %s", prefix)
}

// control returns the fields of the package's control file.
func control(members []arMember) (map[string]string, error) {
	r, err := openTar(members, "control.tar")
	if err != nil {
		return nil, err
	}
	tr := tar.NewReader(io.LimitReader(r, 64<<20))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("deb: control.tar has no file control")
		}
		if err != nil {
			return nil, fmt.Errorf("deb: control.tar: %w", err)
		}
		if strings.TrimPrefix(h.Name, "./") != "control" {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(tr, 1<<20))
		if err != nil {
			return nil, fmt.Errorf("deb: control.tar: %w", err)
		}
		return parseFields(string(b)), nil
	}
}

// parseFields reads one paragraph of a control file, deb-control(5). Lines that
// continue a field are joined to it with newlines.
func parseFields(text string) map[string]string {
	fields := make(map[string]string)
	last := ""
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			if last != "" {
				fields[last] += "\n" + strings.TrimSpace(line)
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		last = name
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}
