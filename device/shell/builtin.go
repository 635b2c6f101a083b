package shell

import (
	"context"

	"github.com/u-root/u-root/pkg/core"
	"github.com/u-root/u-root/pkg/core/base64"
	"github.com/u-root/u-root/pkg/core/cat"
	"github.com/u-root/u-root/pkg/core/chmod"
	"github.com/u-root/u-root/pkg/core/cp"
	"github.com/u-root/u-root/pkg/core/mktemp"
	"github.com/u-root/u-root/pkg/core/mv"
	"github.com/u-root/u-root/pkg/core/touch"
	"github.com/u-root/u-root/pkg/core/xargs"
)

// builtins are the shell, and those of its own commands that other programs
// want to start too.
func builtins() []Command {
	list := []Command{{"sh", "[-eux] [-c COMMAND | FILE] [ARGUMENT]...", sh}}
	for name, usage := range map[string]string{
		"echo": "[-n] [-e] [STRING]...", "printf": "FORMAT [ARGUMENT]...", "true": "", "false": "", "pwd": "[-P]",
		"test": "EXPRESSION", "[": "EXPRESSION ]",
	} {
		list = append(list, Command{name, usage, func(ctx context.Context, e *Env, args []string) error {
			return sh(ctx, e, append([]string{"-c", name + ` "$@"`, name}, args...))
		}})
	}
	return list
}

// coreCommands are those that u-root has as packages, and that keep to a
// working directory there.
func coreCommands() []Command {
	return []Command{
		{"base64", "[-d] [FILE]", uroot(base64.New)},
		{"cat", "[FILE]...", uroot(cat.New)},
		{"chmod", "MODE FILE...", uroot(chmod.New)},
		{"cp", "[-rfipP] FROM... TO", uroot(cp.New)},
		{"mktemp", "[-d] [TEMPLATE]", uroot(mktemp.New)},
		{"mv", "[-nu] FROM... TO", uroot(mv.New)},
		{"touch", "[-amc] [-d TIME] FILE...", uroot(touch.New)},
		{"xargs", "[-n N] [-0] COMMAND [ARGUMENT]...", uroot(xargs.New)},
	}
}

func uroot[C core.Command](make func() C) func(context.Context, *Env, []string) error {
	return func(ctx context.Context, e *Env, args []string) error {
		c := make()
		c.SetIO(ctxReader{ctx, e.Stdin}, e.Stdout, e.Stderr)
		c.SetWorkingDir(e.Dir)
		c.SetLookupEnv(e.Lookup)
		return c.RunContext(ctx, args...)
	}
}
