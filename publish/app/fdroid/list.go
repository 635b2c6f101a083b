package fdroid

import (
	"encoding/binary"
	"fmt"

	"mios"
)

// An item is a package in an index: where its value stands, and what it is,
// so that two indexes are compared without being read.
type item struct {
	name string
	off  int64    // of the value in the index
	size int      // of the value
	sum  [16]byte // of the value: SHA-256, cut
	icon [16]byte // of the icon that was copied for index-v1, likewise; zero: none
}

// A list says what an index holds. It is a file beside the index, for those
// who make the next one.
type list struct {
	repo  int64 // size of the value of "repo", which stands behind listRepo
	items []item
}

// What stands in an index before the values that a list tells the sizes of.
const (
	indexHead     = `{"repo":`
	indexPackages = `,"packages":{`
	indexTail     = `}}`
)

// listMagic begins a list's file; the number is that of its format.
const listMagic = "mios fdroid list 1\n"

// maxName is how long a package's name may be, in bytes.
const maxName = 255

// first is where the first package's name stands in the index.
func (l *list) first() int64 { return int64(len(indexHead)) + l.repo + int64(len(indexPackages)) }

// place computes where the values stand. Each has its name in quotes and a
// colon before it, and a comma behind it unless it is the last.
func (l *list) place() {
	off := l.first()
	for i := range l.items {
		it := &l.items[i]
		it.off = off + int64(len(it.name)) + 3
		off = it.off + int64(it.size) + 1
	}
}

// bytes returns the list's file.
func (l *list) bytes() []byte {
	b := make([]byte, 0, len(listMagic)+16+len(l.items)*72)
	b = append(b, listMagic...)
	b = binary.AppendUvarint(b, uint64(l.repo))
	b = binary.AppendUvarint(b, uint64(len(l.items)))
	for i := range l.items {
		it := &l.items[i]
		b = append(b, byte(len(it.name)))
		b = append(b, it.name...)
		b = binary.AppendUvarint(b, uint64(it.size))
		b = append(b, it.sum[:]...)
		b = append(b, it.icon[:]...)
	}
	return b
}

// parseList reads what [list.bytes] wrote, and nothing else. An error wraps
// [mios.ErrInvalid] and says where.
func parseList(b []byte) (*list, error) {
	p := listParser{all: b, b: b}
	if string(p.take(len(listMagic))) != listMagic {
		return nil, fmt.Errorf("list: offset 0: want %q: %w", listMagic, mios.ErrInvalid)
	}
	l := &list{repo: int64(p.number(1 << 30))}
	n := p.number(1 << 24)
	l.items = make([]item, 0, min(n, uint64(len(p.b)/35)))
	prev := ""
	for range n {
		name := string(p.take(int(p.byte())))
		it := item{name: name, size: int(p.number(1 << 30))}
		copy(it.sum[:], p.take(16))
		copy(it.icon[:], p.take(16))
		if p.err == "" && name <= prev {
			p.fail("package %q behind %q", name, prev)
		}
		if p.err != "" {
			break
		}
		prev = name
		l.items = append(l.items, it)
	}
	if p.err == "" && len(p.b) > 0 {
		p.fail("%d bytes behind the last package", len(p.b))
	}
	if p.err != "" {
		return nil, fmt.Errorf("list: %s: %w", p.err, mios.ErrInvalid)
	}
	l.place()
	return l, nil
}

// A listParser takes a list apart; err is the first thing that was wrong.
type listParser struct {
	all, b []byte
	err    string
}

func (p *listParser) fail(format string, args ...any) {
	if p.err == "" {
		p.err = fmt.Sprintf("offset %d: ", len(p.all)-len(p.b)) + fmt.Sprintf(format, args...)
	}
}

func (p *listParser) take(n int) []byte {
	if p.err != "" || n > len(p.b) {
		p.fail("%d bytes left, want %d", len(p.b), n)
		return nil
	}
	out := p.b[:n]
	p.b = p.b[n:]
	return out
}

func (p *listParser) byte() byte {
	b := p.take(1)
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

func (p *listParser) number(most uint64) uint64 {
	if p.err != "" {
		return 0
	}
	v, n := binary.Uvarint(p.b)
	if n <= 0 || v > most || n > 1 && p.b[n-1] == 0 {
		p.fail("want a number of at most %d in its shortest form", most)
		return 0
	}
	p.b = p.b[n:]
	return v
}
