//go:build !ramdisk

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"mios/device/app"
	"mios/device/app/store"
)

// packageApplets are the commands that speak to installd. What they print is
// what Android's do (frameworks/base, PackageManagerShellCommand): adb reads it.
func packageApplets() []applet {
	run := func(f func(t *tool, ctx context.Context, args []string) int) func(context.Context, []string) int {
		return func(ctx context.Context, args []string) int {
			return f(&tool{in: os.Stdin, out: os.Stdout, err: os.Stderr}, ctx, args)
		}
	}
	return []applet{
		{"am", run((*tool).am)},
		{"cmd", run((*tool).cmd)},
		{"installd", runInstalld},
		{"pm", run((*tool).pm)},
		{"sandbox", runSandbox},
		{"store", run((*tool).store)},
	}
}

// tool is one call of pm, am or cmd.
type tool struct {
	in       io.Reader
	out, err io.Writer
	client   app.Client
}

const (
	pmUsage = `usage: pm install [-r] [-d] [-S SIZE] [FILE]      from FILE, or SIZE bytes of the standard input
       pm install --repo PACKAGE                  from the device's repository
       pm uninstall [-k] PACKAGE                  -k keeps its data
       pm list packages [-f] [-i] [-U] [--show-versioncode] [FILTER]
       pm path PACKAGE
       pm dump PACKAGE
       pm search WORD...                          apps for this device, in its repository
       pm updates                                 what the store updated and what not, and why
`
	amUsage = `usage: am start [-n] PACKAGE[/COMPONENT]           now and after every boot
       am force-stop PACKAGE
`
)

// cmd calls a service by Android's name for it.
func (t *tool) cmd(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(t.err, "usage: cmd -l | SERVICE [ARGUMENT]...")
		return 2
	}
	switch args[0] {
	case "-l":
		fmt.Fprint(t.out, "Currently running services:\n  activity\n  package\n")
		return 0
	case "package":
		return t.pm(ctx, args[1:])
	case "activity":
		return t.am(ctx, args[1:])
	}
	fmt.Fprintf(t.err, "cmd: Can't find service: %s\n", args[0])
	return 20
}

func (t *tool) pm(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(t.err, pmUsage)
		return 2
	}
	verbs := map[string]func(context.Context, []string) error{
		"install": t.install, "uninstall": t.uninstall, "list": t.list, "path": t.path, "dump": t.dump,
		"search": t.search, "updates": t.updates,
	}
	verb := verbs[args[0]]
	if verb == nil {
		fmt.Fprintf(t.err, "Unknown command: %s\n%s", args[0], pmUsage)
		return 255
	}
	return t.report(verb(ctx, args[1:]), args[0] == "install" || args[0] == "uninstall")
}

var errUsage = errors.New("wrong usage")

// report prints how it ended: with the line that adb waits for if it changed
// packages.
func (t *tool) report(err error, changed bool) int {
	refusal, ok := errors.AsType[*app.Error](err)
	switch {
	case err == nil && changed:
		fmt.Fprintln(t.out, "Success")
	case err == nil:
	case errors.Is(err, errUsage):
		fmt.Fprintf(t.err, "Error: %v\n%s", err, pmUsage)
		return 2
	case ok && changed:
		fmt.Fprintf(t.out, "Failure [%s]\n", refusal)
		return 1
	case changed:
		fmt.Fprintf(t.out, "Failure [%s: %v]\n", app.CodeInternal, err)
		return 1
	default:
		fmt.Fprintf(t.err, "Error: %v\n", err)
		return 1
	}
	return 0
}

// installCall is what the arguments of install ask for.
type installCall struct {
	app.InstallOptions
	size int64 // of standard input; -1: not said
	path string
	repo bool // path is a package
}

func parseInstall(args []string) (installCall, error) {
	c := installCall{size: -1}
	var words []string
	for i := 0; i < len(args); i++ {
		value := func() (string, error) {
			if i++; i >= len(args) {
				return "", fmt.Errorf("%w: %s wants a value", errUsage, args[i-1])
			}
			return args[i], nil
		}
		switch a := args[i]; a {
		case "-d":
			c.Downgrade = true
		case "-r", "-t", "-g", "-f", "-R": // nothing here depends on them
		case "--repo":
			c.repo = true
		case "-i", "--user", "--abi", "--install-location", "--install-reason":
			if _, err := value(); err != nil {
				return c, err
			}
		case "-S":
			v, err := value()
			if err != nil {
				return c, err
			}
			if c.size, err = strconv.ParseInt(v, 10, 64); err != nil || c.size < 0 {
				return c, fmt.Errorf("%w: -S %q: want a number of bytes", errUsage, v)
			}
		default:
			if strings.HasPrefix(a, "-") && a != "-" {
				return c, fmt.Errorf("%w: Unknown option: %s", errUsage, a)
			}
			words = append(words, a)
		}
	}
	if len(words) > 1 {
		return c, fmt.Errorf("%w: unexpected %q", errUsage, words[1])
	}
	if len(words) == 1 && words[0] != "-" {
		c.path = words[0]
	}
	if c.path == "" && (c.repo || c.size < 0) {
		return c, fmt.Errorf("%w: no package named, and no size of the standard input", errUsage)
	}
	return c, nil
}

func (t *tool) install(ctx context.Context, args []string) error {
	c, err := parseInstall(args)
	if err != nil {
		return err
	}
	if c.repo {
		_, err := (&store.Client{App: t.client}).Install(ctx, c.path)
		return err
	}
	if c.path == "" {
		_, err := t.client.Install(ctx, t.in, c.size, c.InstallOptions)
		return err
	}
	f, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return &app.Error{Code: "INSTALL_FAILED_INVALID_URI", Message: "there is no file " + c.path}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = t.client.Install(ctx, f, fi.Size(), c.InstallOptions)
	return err
}

func (t *tool) uninstall(ctx context.Context, args []string) error {
	keep := false
	var words []string
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-k":
			keep = true
		case a == "--user":
			i++
		case strings.HasPrefix(a, "-"):
			return fmt.Errorf("%w: Unknown option: %s", errUsage, a)
		default:
			words = append(words, a)
		}
	}
	if len(words) != 1 {
		return fmt.Errorf("%w: want one package", errUsage)
	}
	return t.client.Uninstall(ctx, words[0], keep)
}

func (t *tool) list(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] != "packages" && args[0] != "package" {
		return fmt.Errorf("%w: want list packages", errUsage)
	}
	var file, uid, code, installer bool
	filter := ""
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-f":
			file = true
		case a == "-i":
			installer = true
		case a == "-U":
			uid = true
		case a == "--show-versioncode":
			code = true
		case a == "-3", a == "-e", a == "-a": // all of them are
		case a == "-s", a == "-d": // none of them is
			return nil
		case a == "--user":
			i++
		case strings.HasPrefix(a, "-"):
			return fmt.Errorf("%w: Unknown option: %s", errUsage, a)
		default:
			filter = a
		}
	}
	list, err := t.client.List(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		if !strings.Contains(p.Package, filter) {
			continue
		}
		line := "package:"
		if file {
			line += p.Path + "="
		}
		line += p.Package
		if code {
			line += fmt.Sprintf(" versionCode:%d", p.VersionCode)
		}
		if installer {
			line += "  installer=" + cmp.Or(p.Installer, "null")
		}
		if uid {
			line += fmt.Sprintf(" uid:%d", p.UID)
		}
		fmt.Fprintln(t.out, line)
	}
	return nil
}

func (t *tool) path(ctx context.Context, args []string) error {
	p, err := t.get(ctx, args)
	if err != nil {
		return err
	}
	fmt.Fprintln(t.out, "package:"+p.Path)
	return nil
}

func (t *tool) get(ctx context.Context, args []string) (*app.Status, error) {
	if i := slices.Index(args, "--user"); i >= 0 && i+1 < len(args) {
		args = slices.Delete(slices.Clone(args), i, i+2)
	}
	if len(args) != 1 {
		return nil, fmt.Errorf("%w: want one package", errUsage)
	}
	return t.client.Get(ctx, args[0])
}

func (t *tool) dump(ctx context.Context, args []string) error {
	p, err := t.get(ctx, args)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "Package [%s]\n", p.Package)
	row := func(name string, value any) { fmt.Fprintf(t.out, "  %s=%v\n", name, value) }
	row("userId", p.UID)
	row("codePath", p.Path)
	row("dataDir", p.DataDir)
	row("primaryCpuAbi", p.ABI)
	row("versionCode", p.VersionCode)
	row("versionName", p.VersionName)
	row("splits", p.Splits)
	row("installerPackageName", p.Installer)
	row("release", p.Release)
	row("label", p.Label)
	row("signatures", p.Signers)
	row("sha256", p.SHA256)
	row("network", p.Network)
	row("program", p.Executable)
	row("state", p.State)
	row("pid", p.PID)
	row("restarts", p.Restarts)
	row("lastExit", p.LastExit)
	return nil
}

func (t *tool) am(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(t.err, amUsage)
		return 2
	}
	var words []string
	for i := 1; i < len(args); i++ {
		switch args[i] {
		case "-n", "-W", "-S":
		case "--user", "-a", "-c", "-d", "-t": // an app here has one program, whatever the intent says
			i++
		default:
			words = append(words, args[i])
		}
	}
	if len(words) != 1 || strings.HasPrefix(words[0], "-") {
		fmt.Fprint(t.err, amUsage)
		return 2
	}
	pkg, _, _ := strings.Cut(words[0], "/")
	var err error
	switch args[0] {
	case "start", "start-service", "startservice":
		fmt.Fprintf(t.out, "Starting: %s\n", pkg)
		_, err = t.client.Start(ctx, pkg)
	case "force-stop", "stop-service", "stopservice", "kill":
		_, err = t.client.Stop(ctx, pkg)
	default:
		fmt.Fprintf(t.err, "Unknown command: %s\n%s", args[0], amUsage)
		return 255
	}
	return t.report(err, false)
}
