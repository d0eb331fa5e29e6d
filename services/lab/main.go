// Command lab is an AWS account and an EKS cluster small enough for a laptop.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/parts"
)

const usage = `lab is an AWS account and an EKS cluster small enough for a laptop.

  lab build          make the heavy parts, once, in the cache ($CLOUDOPTIM_CACHE)
  lab up             run it until Ctrl-C
  lab demo           run CloudOptim on it and show what it saves
  lab interrupt      let AWS say that it takes an instance back
  lab generate       print a made-up cluster, as kubectl would
  lab convert-openb  print a cluster made of Alibaba's openb trace

lab COMMAND -h lists a command's flags.
`

// commands take their own flags; what they print on standard output is JSON,
// all else goes to standard error.
var commands = map[string]func(ctx context.Context, args []string) error{
	"build":         build,
	"up":            up,
	"demo":          demo,
	"interrupt":     interrupt,
	"generate":      generateCluster,
	"convert-openb": convertOpenb,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := commands[os.Args[1]](ctx, os.Args[2:])
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, context.Canceled):
		os.Exit(130) // told to stop before it was done
	default:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func build(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("build", flag.ContinueOnError)
	src := fs.String("src", ".", "the source tree, or a folder in it")
	if err := fs.Parse(args); err != nil {
		return err
	}
	_, _, err := ensure(ctx, *src)
	return err
}

// ensure finds the source tree and makes the parts of it.
func ensure(ctx context.Context, src string) (parts.Parts, string, error) {
	root, err := parts.Root(src)
	if err != nil {
		return parts.Parts{}, "", err
	}
	cache, err := parts.Cache()
	if err != nil {
		return parts.Parts{}, "", err
	}
	p, err := parts.Ensure(ctx, root, cache)
	return p, root, err
}

// output is where a command's result goes.
func output(file string, write func(io.Writer) error) error {
	if file == "" || file == "-" {
		return write(os.Stdout)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
