package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"mios"
)

// goBuild builds the program in o.Dir as a static executable.
func (o *Options) goBuild(ctx context.Context, arch mios.Arch, out string) error {
	tool := o.Go
	if tool == "" {
		tool = "go"
	}
	path, err := exec.LookPath(tool)
	if err != nil {
		return fmt.Errorf("%w: install Go from https://go.dev/dl", err)
	}
	cmd := exec.CommandContext(ctx, path, "build", "-trimpath", "-buildvcs=false", "-ldflags="+linkFlags(arch), "-o", out, ".")
	cmd.Dir = o.Dir
	cmd.Env = append(environ(),
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH="+string(arch), "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=")
	var msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &msg, &msg
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s for %s: %w\n%s", o.Dir, arch, err, strings.TrimSpace(msg.String()))
	}
	return isProgram(out, o.Dir)
}

// linkFlags are those of Go's linker. It aligns segments to 4 KiB on amd64, and to
// 64 KiB on arm64: 16 KiB are what devices with such pages take.
func linkFlags(arch mios.Arch) string {
	const flags = "-s -w -buildid="
	if arch == mios.AMD64 {
		return flags + " -R=0x4000"
	}
	return flags
}

// environ is the caller's environment without what would change the program.
func environ() []string {
	var env []string
	for _, e := range os.Environ() {
		switch name, _, _ := strings.Cut(e, "="); name {
		case "GOARCH", "GOOS", "GOFLAGS", "GOAMD64", "GOARM64", "CGO_ENABLED", "GOEXPERIMENT", "GODEBUG", "GOFIPS140":
		default:
			env = append(env, e)
		}
	}
	return env
}

// isProgram refuses what go build makes of a folder that is no package main:
// an archive.
func isProgram(path, dir string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := f.Read(magic); err != nil || string(magic) != "\x7fELF" {
		return errors.New(dir + " holds no program: want a package main")
	}
	return nil
}
