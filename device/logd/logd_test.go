package logd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func messages(r *Ring) string {
	list, _ := r.From(0, 1000)
	var s []string
	for _, e := range list {
		s = append(s, e.Message)
	}
	return strings.Join(s, " ")
}

func TestRingDropsTheOldest(t *testing.T) {
	r := NewRing(10 * (entryCost + 2))
	for i := range 300 {
		r.Append(Entry{Message: fmt.Sprintf("%02d", i%100)})
	}
	if got, want := messages(r), "90 91 92 93 94 95 96 97 98 99"; got != want {
		t.Errorf("ring holds %s, want %s", got, want)
	}
	list, next := r.From(295, 2)
	if len(list) != 2 || list[0].Message != "95" || next != 297 {
		t.Errorf("From(295) = %v, %d", list, next)
	}
	if got := r.Tail(3, func(e *Entry) bool { return e.Message[1]%2 == 0 }); got != 294 {
		t.Errorf("Tail = %d, want 294", got)
	}
	r.Append(Entry{Message: strings.Repeat("x", 3*(entryCost+2))})
	if list, _ := r.From(0, 100); len(list) != 7 || r.bytes > r.limit {
		t.Errorf("ring holds %d entries of %d bytes after a long one, limit is %d", len(list), r.bytes, r.limit)
	}
	r.Clear(func(e *Entry) bool { return len(e.Message) == 2 })
	if list, next := r.From(0, 100); len(list) != 1 || next != 301 {
		t.Errorf("after Clear: %d entries, next %d; want 1, 301", len(list), next)
	}
}

func TestRingGrows(t *testing.T) {
	r := NewRing(1 << 20)
	for i := range 1000 {
		r.Append(Entry{PID: i})
	}
	list, _ := r.From(0, 2000)
	for i, e := range list {
		if e.PID != i {
			t.Fatalf("entry %d is number %d", i, e.PID)
		}
	}
	if len(list) != 1000 {
		t.Errorf("%d entries, want 1000", len(list))
	}
}

func TestRingWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRing(1000)
		done := make(chan error)
		go func() { done <- r.Wait(t.Context(), 0) }()
		synctest.Wait()
		r.Append(Entry{})
		if err := <-done; err != nil {
			t.Errorf("Wait = %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Wait(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait = %v, want that of the context", err)
		}
	})
}

// A script is a socket whose reads were written down: "" is an end of file.
type script []string

func (s *script) Read(b []byte) (int, error) {
	if len(*s) == 0 {
		return 0, errors.New("read on after the end")
	}
	p := (*s)[0]
	*s = (*s)[1:]
	if p == "" {
		return 0, io.EOF
	}
	return copy(b, p), nil
}

// TestPacketReader has ends of file that the kernel reports while packets are
// in the queue, see packetReader.
func TestPacketReader(t *testing.T) {
	for _, tt := range []struct {
		reads script
		want  string
	}{
		{script{"", ""}, "EOF"},
		{script{"a", "b", "", ""}, "a b EOF"},
		{script{"", "a", "b", ""}, "a b EOF"},
		{script{"a", "", "b", ""}, "a b EOF"},
		{script{"a"}, "a read on after the end"},
	} {
		reads, got := append(script(nil), tt.reads...), []string(nil)
		p := packetReader{r: &reads}
		for buf := make([]byte, 8); ; {
			n, err := p.next(buf)
			if err != nil {
				got = append(got, err.Error())
				break
			}
			got = append(got, string(buf[:n]))
		}
		if s := strings.Join(got, " "); s != tt.want || len(reads) > 0 {
			t.Errorf("reads of %q give %q and leave %q, want %q", tt.reads, s, reads, tt.want)
		}
	}
}

func TestLines(t *testing.T) {
	var got []string
	l := Lines{Emit: func(s string) { got = append(got, s) }}
	long := strings.Repeat("y", MaxMessage+1)
	for _, s := range []string{"a", "b\r\n\n", "c\nd", "e\nf\n", long + "\n", "end"} {
		l.Write([]byte(s))
	}
	l.Flush()
	want := []string{"ab", "c", "de", "f", long[1:], "y", "end"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("lines = %.200q", got)
	}
}

func TestParseLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain words": "I plain words",
		`time=2026-11-22T10:00:00.000Z level=INFO msg="a \"b\"" k=v`: `I a "b" k=v`,
		"time=2026-11-22T10:00:00.000Z level=WARN msg=short":         "W short",
		"level=ERROR msg=x e=1":                                      "E x e=1",
		"level=DEBUG-4 msg=x":                                        "V x",
		"level=ERROR+4 msg=x":                                        "F x",
		"level=LOUD msg=x":                                           "I level=LOUD msg=x",
		"time=never":                                                 "I time=never",
		"2026/11/22 10:00:00 ERROR broken k=v":                       "E broken k=v",
		"2026/11/22 10:00:00.123456 just text":                       "I just text",
		"2026/11/22 10:00:0x WARN no":                                "I 2026/11/22 10:00:0x WARN no",
		"panic: oh":                                                  "F panic: oh",
		"":                                                           "I ",
	} {
		p, msg := ParseLine(in)
		if got := p.String() + " " + msg; got != want {
			t.Errorf("ParseLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParseKernel(t *testing.T) {
	for in, want := range map[string]kernelRecord{
		"6,1,1500000,-;virtio: up\n SUBSYSTEM=x\n": {Info, 1500 * time.Millisecond, false, "kernel", "virtio: up"},
		"3,2,0,-,caller=T1;bad":                    {Error, 0, false, "kernel", "bad"},
		"12,3,7,-;init: hello: there\n":            {Warn, 7 * time.Microsecond, true, "init", "hello: there"},
		"14,3,7,-;two words: there\n":              {Info, 7 * time.Microsecond, true, "kernel", "two words: there"},
	} {
		if got, err := parseKernel(in); err != nil || got != want {
			t.Errorf("parseKernel(%q) = %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "x", "a,b,c;d", "1,2;x", "6,1,-1;x"} {
		if _, err := parseKernel(in); err == nil {
			t.Errorf("parseKernel(%q) accepts it", in)
		}
	}
}

// stamp is 2026-11-22 10:20:30.123456 UTC.
var stamp = time.Date(2026, 11, 22, 10, 20, 30, 123456000, time.UTC)

func TestFormats(t *testing.T) {
	e := Entry{Time: stamp, PID: 12, TID: 13, Priority: Warn, Tag: "netd", Message: "one\ntwo"}
	for name, want := range map[string]string{
		"brief":           "W/netd    (   12): one\nW/netd    (   12): two\n",
		"process":         "W(   12) one  (netd)\nW(   12) two  (netd)\n",
		"tag":             "W/netd    : one\nW/netd    : two\n",
		"thread":          "W(   12:   13) one\nW(   12:   13) two\n",
		"raw":             "one\ntwo\n",
		"time":            "11-22 10:20:30.123 W/netd    (   12): one\n11-22 10:20:30.123 W/netd    (   12): two\n",
		"threadtime":      "11-22 10:20:30.123    12    13 W netd    : one\n11-22 10:20:30.123    12    13 W netd    : two\n",
		"long":            "[ 11-22 10:20:30.123    12:   13 W/netd     ]\none\ntwo\n\n",
		"time,usec,year":  "2026-11-22 10:20:30.123456 W/netd    (   12): one\n2026-11-22 10:20:30.123456 W/netd    (   12): two\n",
		"brief,raw,epoch": "one\ntwo\n",
	} {
		f, err := ParseFormat(name)
		if got := f.Entry(e); err != nil || got != want {
			t.Errorf("format %s = %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := ParseFormat("loud"); err == nil {
		t.Error("format loud is accepted")
	}
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		specs  string
		silent bool
		shown  string
	}{
		{"", false, "aD aE bI"}, {"*:W", false, "aE"}, {"a:E", false, "aE bI"}, {"a", true, "aD aE"},
		{"b:V *:S", false, "bI"}, {"*:s a:w", false, "aE"},
	} {
		f, err := ParseFilter(strings.Fields(c.specs), c.silent)
		if err != nil {
			t.Fatal(err)
		}
		var shown []string
		for _, e := range []Entry{{Tag: "a", Priority: Debug}, {Tag: "a", Priority: Error}, {Tag: "b", Priority: Info}} {
			if f.Match(e) {
				shown = append(shown, e.Tag+e.Priority.String())
			}
		}
		if got := strings.Join(shown, " "); got != c.shown {
			t.Errorf("filter %q shows %q, want %q", c.specs, got, c.shown)
		}
	}
	for _, s := range []string{"a:", "a:X", ":V", "a:VV"} {
		if _, err := ParseFilter([]string{s}, false); err == nil {
			t.Errorf("filter %q is accepted", s)
		}
	}
}

// serve runs the servers of a ring and returns their sockets.
func serve(t *testing.T, r *Ring) (readPath, writePath string) {
	dir := t.TempDir()
	readPath, writePath = filepath.Join(dir, "r"), filepath.Join(dir, "w")
	l, err := ListenReaders(readPath)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ListenWriters(writePath)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.ServeReaders(ctx, l) }()
	go func() { done <- r.ServeWriters(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("server: %v", err)
			}
		}
	})
	return readPath, writePath
}

func TestServers(t *testing.T) {
	r := NewRing(1 << 20)
	readPath, writePath := serve(t, r)
	w, err := Dial(writePath)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range 5 {
		if err := w.Write(Entry{Time: stamp, TID: 7, ID: Main, Priority: Warn, Tag: "t", Message: fmt.Sprint("m", i)}); err != nil {
			t.Fatal(err)
		}
	}
	r.Append(Entry{Time: stamp, ID: Kernel, Priority: Info, Tag: "kernel", Message: "k"})
	if err := r.Wait(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	read := func(q Query) []Entry {
		var got []Entry
		if err := Read(t.Context(), readPath, q, func(e Entry) error { got = append(got, e); return nil }); err != nil {
			t.Errorf("Read %+v: %v", q, err)
		}
		return got
	}
	want := Entry{Time: stamp, PID: os.Getpid(), TID: 7, UID: uint32(os.Getuid()), ID: Main, Priority: Warn, Tag: "t", Message: "m4"}
	if got := read(Query{IDs: []ID{Main}, Tail: 1}); len(got) != 1 || !got[0].Time.Equal(stamp) {
		t.Errorf("tail = %+v", got)
	} else if got[0].Time = stamp; got[0] != want {
		t.Errorf("tail = %+v, want %+v", got[0], want)
	}
	if got := read(Query{}); len(got) != 6 {
		t.Errorf("%d entries, want 6", len(got))
	}
	if got := read(Query{PID: 1 << 22}); len(got) != 0 {
		t.Errorf("%d entries of a process that there is not", len(got))
	}
	if err := Clear(t.Context(), readPath, Query{IDs: []ID{Main}}); err != nil {
		t.Fatal(err)
	}
	if got := read(Query{}); len(got) != 1 || got[0].ID != Kernel {
		t.Errorf("after Clear: %+v, want the kernel's", got)
	}
	enough := errors.New("enough")
	seen := 0
	err = Read(t.Context(), readPath, Query{Follow: true}, func(e Entry) error {
		seen++
		if seen == 4 {
			return enough
		}
		l := w.Lines("late", os.Getpid(), uint32(os.Getuid()))
		l.Write([]byte("level=ERROR msg=now\n"))
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("Read = %v, want what the function returned", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if err := Read(ctx, readPath, Query{Follow: true, Tail: 1}, func(Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Read = %v, want that of the context", err)
	}
}

// TestReadAfterWrite reads at once what was written.
func TestReadAfterWrite(t *testing.T) {
	r := NewRing(1 << 20)
	readPath, writePath := serve(t, r)
	w, err := Dial(writePath)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Write(Entry{ID: Main, Priority: Info, Tag: "t", Message: "first"})
	if err := r.Wait(t.Context(), 0); err != nil { // the server has begun
		t.Fatal(err)
	}
	for i := range 300 {
		text := fmt.Sprint("m", i)
		for _, s := range []string{"before", text} {
			if err := w.Write(Entry{ID: Main, Priority: Info, Tag: "t", Message: s}); err != nil {
				t.Fatal(err)
			}
		}
		last := ""
		if err := Read(t.Context(), readPath, Query{Tail: 1}, func(e Entry) error { last = e.Message; return nil }); err != nil {
			t.Fatal(err)
		}
		if last != text {
			t.Fatalf("read %d ends with %q, want %q", i, last, text)
		}
	}
	if len(r.settling.marks) != 0 {
		t.Errorf("%d marks are left", len(r.settling.marks))
	}
}

// TestMarkOfAnother wants only this process's marks to be taken as such.
func TestMarkOfAnother(t *testing.T) {
	var s settling
	s.serve("x")
	mark := make(chan struct{})
	s.marks[1] = mark
	b := binary.LittleEndian.AppendUint64(nil, 1)
	if s.came(b, &unix.Ucred{Pid: int32(os.Getpid() + 1)}) || s.came(b[:7], &unix.Ucred{Pid: int32(os.Getpid())}) {
		t.Error("another's datagram is a mark")
	}
	if !s.came(b, &unix.Ucred{Pid: int32(os.Getpid())}) {
		t.Error("a mark is none")
	}
	<-mark
}

func FuzzParse(f *testing.F) {
	e := Entry{Time: stamp, PID: 1, TID: 2, UID: 3, ID: System, Priority: Info, Tag: "tag", Message: "message"}
	f.Add(e.append(nil))
	f.Add(e.appendWrite(nil))
	f.Add([]byte("6,1,15,-;x: y\n"))
	f.Add([]byte("stream lids=0,3 tail=5"))
	f.Add([]byte(`level=INFO msg="x`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := parseEntry(b); err == nil {
			again, err := parseEntry(e.append(nil))
			if err != nil || again.Message != e.Message || again.Tag != e.Tag {
				t.Errorf("entry %+v comes back as %+v, %v", e, again, err)
			}
		}
		if e, err := parseWrite(b); err == nil {
			if again, err := parseWrite(e.appendWrite(nil)); err != nil || again.Message != e.Message {
				t.Errorf("datagram %+v comes back as %+v, %v", e, again, err)
			}
		}
		parseKernel(string(b))
		parseRequest(string(b))
		ParseLine(string(b))
	})
}
