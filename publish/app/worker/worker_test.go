package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mios"
	"mios/format/apksig"
	"mios/internal/readat"
	"mios/internal/testkit"
	"mios/publish/app/apptest"
	"mios/publish/app/check"
	"mios/publish/app/listing"
)

// TestMain lets the test's own binary be a worker, with tasks that misbehave.
func TestMain(m *testing.M) {
	for name, run := range misbehaviour {
		tasks[name] = func(_ context.Context, req *request, files []File) (any, error) { return run(req, files) }
	}
	Main()
	os.Exit(m.Run())
}

// misbehaviour is what children do in the tests.
var misbehaviour = map[string]func(*request, []File) (any, error){
	"hang": func(*request, []File) (any, error) { select {} },
	"sleep": func(*request, []File) (any, error) {
		time.Sleep(time.Hour)
		return nil, nil
	},
	"spin": func(*request, []File) (any, error) {
		for n := 0; ; n++ {
			if n < 0 {
				return n, nil
			}
		}
	},
	"eat": func(*request, []File) (any, error) {
		var all [][]byte
		for len(all) < 1<<20 {
			all = append(all, bytes.Repeat([]byte{1}, 1<<20))
		}
		return len(all), nil
	},
	"crash":   func(*request, []File) (any, error) { panic("index out of\x1b[31m range") },
	"silent":  func(*request, []File) (any, error) { os.Exit(0); return nil, nil },
	"status":  func(*request, []File) (any, error) { os.Exit(7); return nil, nil },
	"garbage": func(*request, []File) (any, error) { fmt.Println("hello"); os.Exit(0); return nil, nil },
	"twice": func(*request, []File) (any, error) {
		fmt.Println(`{"result":1}{"result":2}`)
		os.Exit(0)
		return nil, nil
	},
	"unknown": func(*request, []File) (any, error) {
		fmt.Println(`{"result":1,"key":2}`)
		os.Exit(0)
		return nil, nil
	},
	"endless": func(*request, []File) (any, error) {
		for {
			if _, err := os.Stdout.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				os.Exit(1)
			}
		}
	},
	"chatter": func(*request, []File) (any, error) {
		for range 1 << 10 {
			fmt.Fprintln(os.Stderr, strings.Repeat("noise ", 100))
		}
		return 1, nil
	},
	"wrong":   func(*request, []File) (any, error) { return "text", nil },
	"invalid": func(*request, []File) (any, error) { return nil, fmt.Errorf("the\nfile: %w", mios.ErrInvalid) },
	"ours":    func(*request, []File) (any, error) { return nil, errors.New("a disk") },
	"look": func(_ *request, files []File) (any, error) {
		var s seen
		s.Environment = os.Environ()
		s.Arguments = os.Args[1:]
		_, err := os.ReadFile("/etc/passwd")
		s.Open = fmt.Sprint(err)
		_, err = os.ReadDir("/proc/self/fd")
		s.List = fmt.Sprint(err)
		s.Exec = fmt.Sprint(exec.Command("/bin/true").Run())
		s.Write = fmt.Sprint(os.WriteFile("/tmp/worker-test", nil, 0o600))
		for fd := range 64 {
			var st syscall.Stat_t
			if syscall.Fstat(fd, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFREG {
				s.Files = append(s.Files, st.Ino)
			}
		}
		for _, f := range files {
			b := make([]byte, f.Size)
			if err := readat.Full(f, b, 0); err != nil {
				return nil, err
			}
			s.Content = append(s.Content, string(b))
			_, err := f.ReaderAt.(*os.File).WriteAt([]byte("x"), 0)
			s.Overwrite = append(s.Overwrite, fmt.Sprint(err))
		}
		return s, nil
	},
}

// seen is what a child found around itself.
type seen struct {
	Environment, Arguments  []string
	Open, List, Exec, Write string
	Files                   []uint64 // inodes of what is open
	Content, Overwrite      []string
}

// TestMisbehaviour shows that whatever a child does is an error in a sentence,
// soon.
func TestMisbehaviour(t *testing.T) {
	for _, tt := range []struct {
		task    string
		want    string
		invalid bool
	}{
		{"hang", "the package could not be read: it took longer than 2s|all goroutines are asleep", true},
		{"sleep", "the package could not be read: it took longer than 2s", true},
		{"spin", "the package could not be read: it took longer than 2s|of processor time", true},
		{"eat", "the package could not be read: it takes more than 268.4 MB of memory", true},
		{"crash", "the package could not be read: the process that read it died: panic: index out of [31m range", true},
		{"silent", "the package could not be read: the process that read it gave no answer: EOF", true},
		{"status", "the package could not be read: the process that read it died: exit status 7", true},
		{"garbage", "the package could not be read: the process that read it gave no answer: invalid character 'h'", true},
		{"twice", "the package could not be read: the process that read it gave no answer: something follows it", true},
		{"unknown", `the package could not be read: the process that read it gave no answer: json: unknown field "key"`, true},
		{"endless", "the package could not be read: there is more to say of it than 67.1 MB", true},
		{"wrong", "the package could not be read: the process that read it gave no answer: json: cannot unmarshal string", true},
		{"invalid", "the file", true},
		{"ours", "worker: a disk", false},
		{"none such", "the package could not be read: the process that read it died: no task", true},
	} {
		t.Run(tt.task, func(t *testing.T) {
			t.Parallel()
			w := Worker{Memory: 256 << 20, Timeout: testkit.Patience}
			if strings.Contains(tt.want, "longer than 2s") {
				w.Timeout = 2 * time.Second
			}
			var out int
			err := w.run(t.Context(), tt.task, "", nil, &out)
			if err == nil || !slices.ContainsFunc(strings.Split(tt.want, "|"), func(s string) bool { return strings.Contains(err.Error(), s) }) || errors.Is(err, mios.ErrInvalid) != tt.invalid {
				t.Errorf("error %v (invalid: %v), want %q (%v)", err, errors.Is(err, mios.ErrInvalid), tt.want, tt.invalid)
			}
		})
	}
	var out int
	if err := new(Worker).run(t.Context(), "chatter", "", nil, &out); err != nil || out != 1 {
		t.Errorf("a child that talks on standard error: %d, %v, want its answer", out, err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	begin := time.Now()
	if err := new(Worker).run(ctx, "sleep", "", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if took := time.Since(begin); took > testkit.Patience {
		t.Errorf("it took %v to be cancelled", took)
	}
}

// wrapped is a file that is known by its methods only.
type wrapped struct{ *os.File }

func TestSurroundings(t *testing.T) {
	t.Setenv("SECRET", "hunter2")
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("on disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// A descriptor that exec would pass on, as a careless shell leaves one.
	leak, err := syscall.Open("/etc/hostname", syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leak)
	var s seen
	files := []File{{f, "a", 7}, {wrapped{f}, "b", 7}, {strings.NewReader("in memory"), "c", 9}}
	if err := new(Worker).run(t.Context(), "look", "", files, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Environment) != 0 || !slices.Equal(s.Arguments, []string{command, "3"}) {
		t.Errorf("environment %q, arguments %q", s.Environment, s.Arguments)
	}
	for what, msg := range map[string]string{"open": s.Open, "list": s.List, "exec": s.Exec, "write": s.Write} {
		if !strings.Contains(msg, "not permitted") && !strings.Contains(msg, "denied") {
			t.Errorf("%s: %q, want it refused", what, msg)
		}
	}
	if want := []string{"on disk", "on disk", "in memory"}; !slices.Equal(s.Content, want) {
		t.Errorf("content %q, want %q", s.Content, want)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(leak, &st); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(s.Files, st.Ino) || len(s.Files) < len(files) {
		t.Errorf("inodes %v are open, want the files, and not %d", s.Files, st.Ino)
	}
	for _, msg := range s.Overwrite {
		if msg == "<nil>" {
			t.Errorf("a child can write to the files")
		}
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "on disk" {
		t.Errorf("the file is %q, %v", b, err)
	}
}

// TestNameless shows that large files which are no files are copied to one that
// nobody finds, and that goes away.
func TestNameless(t *testing.T) {
	w := &Worker{Temp: t.TempDir()}
	for _, size := range []int64{1, inMemory + 1} {
		f, err := w.nameless(size)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("content"); err != nil {
			t.Fatal(err)
		}
		again, err := reopen(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(again)
		if _, werr := again.WriteString("x"); err != nil || string(b) != "content" || werr == nil {
			t.Errorf("%d bytes: %q, %v, and writing says %v", size, b, err, werr)
		}
		list, err := os.ReadDir(w.Temp)
		if err != nil || len(list) != 0 {
			t.Errorf("%d bytes: %v is there, %v", size, list, err)
		}
		f.Close()
		again.Close()
	}
}

func TestInspect(t *testing.T) {
	signer := apptest.Signer(t)
	b := apptest.APK{Signers: []apksig.Signer{signer}}.Build(t)
	w := new(Worker)
	facts, err := w.Inspect(t.Context(), []File{{bytes.NewReader(b), "clock.apk", int64(len(b))}})
	if err != nil {
		t.Fatal(err)
	}
	if facts.App.Package != "org.example.clock" || !facts.App.Signature.Verified || len(facts.Signers) != 1 || facts.Signers[0] != mios.Sum(signer.Certificate) {
		t.Errorf("facts %+v", facts)
	}
	direct := new(check.Facts)
	again, err := json.Marshal(facts)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, direct); err != nil || direct.Valid(1) != nil {
		t.Errorf("facts do not come back: %v, %v", err, direct.Valid(1))
	}
	for _, tt := range []struct{ in, want string }{
		{"", "file.apk: "}, {"PK\x03\x04", "file.apk: "}, {string(b[:len(b)-1]), "file.apk: "},
	} {
		if _, err := w.Inspect(t.Context(), []File{{strings.NewReader(tt.in), "file.apk", int64(len(tt.in))}}); !errors.Is(err, mios.ErrInvalid) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%.8q: error %v, want %q", tt.in, err, tt.want)
		}
	}
	broken := io.NewSectionReader(strings.NewReader("short"), 0, 5)
	if _, err := w.Inspect(t.Context(), []File{{broken, "file.apk", 10}}); err == nil || errors.Is(err, mios.ErrInvalid) {
		t.Errorf("a reader that ends too early: error %v, want one of the reader", err)
	}
}

func TestConvert(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 512, 512))
	for i := range 512 {
		img.Set(i, i, color.RGBA{uint8(i), 0, 255, 255})
	}
	var in bytes.Buffer
	if err := png.Encode(&in, img); err != nil {
		t.Fatal(err)
	}
	w := new(Worker)
	got, err := w.Convert(t.Context(), in.Bytes(), listing.KindIcon)
	if err != nil {
		t.Fatal(err)
	}
	want, err := listing.Convert(t.Context(), in.Bytes(), listing.KindIcon)
	if err != nil || len(got) != len(listing.IconSizes) || len(want) != len(got) {
		t.Fatalf("%d icons, %d in this process, %v", len(got), len(want), err)
	}
	for i := range got {
		if got[i].SHA256 != want[i].SHA256 || got[i].Width != listing.IconSizes[i] {
			t.Errorf("icon %d: %v %d, want %v", i, got[i].SHA256, got[i].Width, want[i].SHA256)
		}
	}
	if _, err := w.Convert(t.Context(), []byte("GIF89a"), listing.KindIcon); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "PNG, JPEG or WebP") {
		t.Errorf("a GIF: error %v", err)
	}
}
