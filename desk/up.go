package desk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mios"
	"mios/build/product"
	deviceota "mios/device/ota"
	"mios/emulator"
	"mios/format/apksig"
	"mios/internal/debian"
	"mios/internal/lazyregexp"
	"mios/internal/progress"
	"mios/internal/tool"
	"mios/publish/repo"
)

// Up is the whole story, from keys to a device that has updated itself.
type Up struct {
	Dir     string // all state
	Product string // the definition's file
	App     string // folder of the example app
	Arch    mios.Arch
	Addr    string // where the repository is served
	ADBPort int    // of 127.0.0.1, for adb
	AppPort int    // of 127.0.0.1, for the app's page
	Once    bool   // end with the story
	Out     io.Writer
}

// appPort is where the example app listens on the device.
const appPort = 8080

// story is an Up under way.
type story struct {
	Up
	*progress.Story
	desk   *Desk
	repo   *repo.Repo
	server *Server
	device *Device
	apk    *apksig.Package
	name   string // of the product
	root   []byte
	builds [2]string // folders of release 1 and 2
}

// Run tells the story. It returns once it is told, with Once, or when ctx ends.
func (u Up) Run(ctx context.Context) (err error) {
	if u.Dir, err = filepath.Abs(u.Dir); err != nil {
		return err
	}
	if err := u.programs(); err != nil {
		return err
	}
	s := &story{Up: u, Story: progress.New(u.Out)}
	defer s.close()
	for _, step := range []func(context.Context) error{
		s.keys, s.kernel, s.repository, s.release(0, "1"), s.serve, s.publish(0), s.app,
		s.boot, s.install, s.release(1, "2"), s.publish(1), s.update, s.healthy,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	s.whereabouts()
	if u.Once {
		return nil
	}
	fmt.Fprintln(u.Out, "Ctrl-C ends it.")
	select {
	case <-ctx.Done():
		return nil
	case <-s.device.Done():
		return errors.New("the device has powered off")
	}
}

// programs says which programs are not there, before anything is made.
func (u Up) programs() error {
	_, err := emulator.Look(string(u.Arch))
	errs := []error{err}
	for _, name := range []string{"adb", "mke2fs"} {
		_, err := tool.Look(name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *story) close() {
	if s.device != nil {
		s.device.Close()
	}
	if s.server != nil {
		s.server.Close()
	}
}

func (s *story) keys(ctx context.Context) error {
	return s.Step(ctx, "development keys", func(ctx context.Context, t *progress.Task) (err error) {
		_, statErr := os.Stat(filepath.Join(s.Dir, "keys"))
		s.desk, err = Open(s.Dir, filepath.Join(s.Dir, "cache", "debian"))
		if err != nil {
			return err
		}
		said := map[string]bool{}
		s.desk.Notice = func(msg string) {
			if !said[msg] {
				s.Say("%s", msg)
			}
			said[msg] = true
		}
		verb := "made"
		if statErr == nil {
			verb = "reused"
		}
		t.Done("DEVELOPMENT KEYS %s in %s: never ship a device that trusts them", verb, s.desk.KeysDir())
		return nil
	})
}

func (s *story) kernel(ctx context.Context) error {
	p, err := product.Load(s.Product)
	if err != nil {
		return err
	}
	s.name = p.Name
	return s.Step(ctx, "kernel "+p.Kernel.Line+" for "+string(s.Arch), func(ctx context.Context, t *progress.Task) error {
		kernels := debian.Kernels{Cache: s.desk.Cache, Notice: s.desk.Notice, Progress: t.Bytes}
		k, err := kernels.Open(ctx, p.Kernel.Line, string(s.Arch))
		if err != nil {
			return err
		}
		t.Done("kernel %s (Debian %s)", k.Release, k.Version)
		return k.Close()
	})
}

func (s *story) repository(ctx context.Context) error {
	return s.Step(ctx, "repository", func(ctx context.Context, t *progress.Task) (err error) {
		if s.repo, err = s.desk.Repository(ctx, s.name); err != nil {
			return err
		}
		if s.root, err = s.desk.Root(ctx, s.repo); err != nil {
			return err
		}
		t.Done("repository in %s, its root signed by 2 of 3 keys", s.repo.Dir())
		return nil
	})
}

// release builds a release and its payload.
func (s *story) release(i int, version string) func(context.Context) error {
	return func(ctx context.Context) error {
		return s.Step(ctx, "build release "+version, func(ctx context.Context, t *progress.Task) error {
			after := int64(0)
			if i > 0 {
				m, err := s.manifest(i - 1)
				if err != nil {
					return err
				}
				after = m.BuildTime
			}
			dir, reused, err := s.desk.Build(ctx, BuildSpec{
				Product: s.Product, Arch: s.Arch, Version: version, After: after, Root: s.root,
				Note: func(what string) { t.Note("%s", what) },
			})
			if err != nil {
				return err
			}
			s.builds[i] = dir
			t.Note("payload")
			if _, _, err := s.desk.Payload(ctx, dir, t.Bytes); err != nil {
				return err
			}
			m, err := s.manifest(i)
			if err != nil {
				return err
			}
			verb := "built"
			if reused {
				verb = "reused"
			}
			var size int64
			for _, p := range m.Partitions {
				size += p.Size
			}
			t.Done("release %s: %s signed images of %s for %s (%s) in %s", version, verb, m.Product, m.Arch, progress.Size(size), dir)
			return nil
		})
	}
}

func (s *story) serve(ctx context.Context) error {
	return s.Step(ctx, "serve", func(ctx context.Context, t *progress.Task) (err error) {
		s.server, err = ServeRepository(s.Addr, s.repo, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		if s.server.Moved != "" {
			s.Say("%s is taken: using a free port", s.server.Moved)
		}
		t.Done("mios serve is up at http://%s/", s.server.Addr)
		return nil
	})
}

func (s *story) publish(i int) func(context.Context) error {
	return func(ctx context.Context) error {
		return s.Step(ctx, "publish", func(ctx context.Context, t *progress.Task) error {
			rel, reused, err := s.desk.PublishWays(ctx, s.repo, s.builds[i], Ways{From: s.builds[:i], Chunks: i > 0}, t.Bytes)
			if err != nil {
				return err
			}
			verb := "published"
			if reused {
				verb = "is published already"
			}
			sizes := "payload of " + progress.Size(rel.Target.Length)
			for _, d := range rel.Deltas {
				sizes += ", delta of " + progress.Size(d.Target.Length)
			}
			t.Done("release %s %s (%s)", rel.Version, verb, sizes)
			return nil
		})
	}
}

func (s *story) app(ctx context.Context) error {
	return s.Step(ctx, "example app", func(ctx context.Context, t *progress.Task) error {
		p, reused, err := s.desk.App(ctx, s.repo, s.App)
		if err != nil {
			return err
		}
		s.apk = p
		verb := "published"
		if reused {
			verb = "is published already"
		}
		t.Done("app %s %s %s", p.Package, p.VersionName, verb)
		return nil
	})
}

func (s *story) boot(ctx context.Context) error {
	return s.Step(ctx, "boot", func(ctx context.Context, t *progress.Task) (err error) {
		dir := filepath.Join(s.Dir, "device")
		if err := os.RemoveAll(dir); err != nil { // each story begins with a device new from the factory
			return err
		}
		t.Note("the disk of a factory-new device")
		s.device, err = StartDevice(ctx, DeviceConfig{
			Build: s.builds[0], Dir: dir, Repository: s.server.GuestURL(), ADBKey: s.desk.ADBKey(),
			ADBHost: s.port(s.ADBPort), Forward: []emulator.Forward{{Host: s.port(s.AppPort), Guest: appPort}},
		})
		if err != nil {
			return err
		}
		t.Note("loader, kernel, init, services")
		if _, err := s.device.Healthy(ctx); err != nil {
			return err
		}
		if err := s.device.ADB.Connect(ctx); err != nil {
			return err
		}
		slot, err := s.device.ADB.Shell(ctx, "getprop ro.boot.slot_suffix")
		t.Done("the device has booted release 1 from slot %s, verified, and finds itself healthy", slot)
		return err
	})
}

// port returns the port if it is free, or else 0, and says so.
func (s *story) port(n int) int {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n))
	if err != nil {
		s.Say("port %d is taken: using a free one", n)
		return 0
	}
	l.Close()
	return n
}

func (s *story) install(ctx context.Context) error {
	err := s.Step(ctx, "install "+s.apk.Package, func(ctx context.Context, t *progress.Task) error {
		if _, err := s.device.ADB.Shell(ctx, "pm install --repo "+s.apk.Package); err != nil {
			return err
		}
		t.Done("%s installed from the repository", s.apk.Package)
		return nil
	})
	if err != nil {
		return err
	}
	return s.Step(ctx, "run "+s.apk.Package, func(ctx context.Context, t *progress.Task) error {
		if _, err := s.device.ADB.Shell(ctx, "am start "+s.apk.Package); err != nil {
			return err
		}
		title, err := s.page(ctx)
		if err != nil {
			return err
		}
		t.Done("%s runs: its page says %q", s.apk.Package, title)
		return nil
	})
}

var title = lazyregexp.New(`(?s)<title>\s*(.*?)\s*</title>`)

// page waits until the app answers and returns its page's title.
func (s *story) page(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		text, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/", s.device.Port(appPort)))
		if err == nil {
			if m := title.FindStringSubmatch(text); m != nil {
				return m[1], nil
			}
			err = errors.New("the app's page has no title")
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("the app does not answer: %w", err)
		case <-time.After(100 * time.Millisecond): // between two looks
		}
	}
}

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(b), err
}

// update asks the device to update itself, and follows what it says until it
// goes down for the reboot.
func (s *story) update(ctx context.Context) error {
	return s.Step(ctx, "update", func(ctx context.Context, t *progress.Task) error {
		cmd := s.device.ADB.Command(ctx, "shell", "update_engine_client --update --follow")
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		cmd.Stderr = cmd.Stdout
		if err := cmd.Start(); err != nil {
			return err
		}
		last, way := "", "streamed"
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			line := strings.TrimSpace(lines.Text())
			if line != "" {
				last = line
				t.Note("%s", line)
			}
			if f := strings.Split(line, ", "); len(f) > 1 && strings.HasPrefix(line, string(deviceota.Downloading)) {
				way = "fetched as " + f[1]
			}
		}
		if err := cmd.Wait(); err != nil && ctx.Err() == nil && strings.HasPrefix(last, "update_engine_client:") {
			return errors.New(last)
		}
		t.Done("release 2 found, %s, written to the other slot and verified", way)
		return ctx.Err()
	})
}

// healthy waits for the updated device, and learns through adb how it is.
func (s *story) healthy(ctx context.Context) error {
	return s.Step(ctx, "reboot", func(ctx context.Context, t *progress.Task) error {
		t.Note("into the other slot")
		line, err := s.device.Healthy(ctx)
		if err != nil {
			return err
		}
		if err := s.device.ADB.Connect(ctx); err != nil {
			return err
		}
		got, err := s.device.ADB.Shell(ctx, "echo $(getprop ro.build.id) $(getprop ro.boot.slot_suffix) $(getprop sys.mios.health)")
		if err != nil {
			return err
		}
		if got != "2 _b healthy" {
			return fmt.Errorf("the device says %q (version, slot, health), want \"2 _b healthy\"; its console said: %s", got, line)
		}
		if _, err := s.page(ctx); err != nil {
			return err
		}
		t.Done("the device runs release 2 from slot _b, is healthy, and its app runs again")
		return nil
	})
}

func (s *story) whereabouts() {
	fmt.Fprintf(s.Out, "\n  adb         %s shell\n", s.device.ADB.Typed())
	fmt.Fprintf(s.Out, "  console     tail -f %s\n", s.device.ConsoleFile())
	fmt.Fprintf(s.Out, "  repository  http://%s/\n", s.server.Addr)
	fmt.Fprintf(s.Out, "  the app     http://127.0.0.1:%d/\n\n", s.device.Port(appPort))
}
