package run

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var errBroken = errors.New("broken")

func untilDone(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestTheFirstErrorStopsAllAndIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := false
		err := All(t.Context(), func(ctx context.Context) error { defer func() { stopped = true }(); return untilDone(ctx) },
			Named("listener", func(context.Context) error { return errBroken }))
		if !errors.Is(err, errBroken) || err.Error() != "listener: broken" || !stopped {
			t.Errorf("got %v, other part stopped = %v", err, stopped)
		}
	})
}

func TestAPanicBecomesAnErrorWithItsStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := All(t.Context(), untilDone, func(context.Context) error { panic("ouch") })
		if err == nil || !strings.Contains(err.Error(), "panic: ouch") || !strings.Contains(err.Error(), "run_test.go") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAFinishedPartDoesNotDisturbTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		err := All(t.Context(), func(context.Context) error { return nil },
			func(context.Context) error { time.Sleep(time.Hour); return nil })
		if err != nil || time.Since(begin) != time.Hour {
			t.Errorf("got %v after %s", err, time.Since(begin))
		}
	})
}

func TestAnAskedStopIsNoErrorButTroubleWhileStoppingIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := All(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil }); err != nil {
			t.Errorf("got %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		if err := All(ctx, untilDone, untilDone); err != nil {
			t.Errorf("got %v", err)
		}
		ctx, stop = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		if err := All(ctx, untilDone, func(ctx context.Context) error { <-ctx.Done(); return errBroken }); !errors.Is(err, errBroken) {
			t.Errorf("got %v, want %v", err, errBroken)
		}
	})
}

func TestAPartThatDoesNotStopIsNamedAfterTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		err := All(t.Context(), func(context.Context) error { return errBroken },
			func(context.Context) error { time.Sleep(time.Hour); return nil })
		if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "#2") || time.Since(begin) != Grace {
			t.Errorf("got %v after %s", err, time.Since(begin))
		}
		time.Sleep(time.Hour) // lets the part end, as synctest demands
	})
}

func TestNoPartsIsNoWork(t *testing.T) {
	if err := All(t.Context()); err != nil {
		t.Error(err)
	}
}

type answered struct{}

func (answered) Error() string { return "answered" }
func (answered) ExitCode() int { return 0 }

func TestStatusFollowsTheError(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{{nil, 0, ""}, {errBroken, 1, "error: broken\n"}, {answered{}, 0, ""}, {errors.Join(answered{}), 0, ""}} {
		var out bytes.Buffer
		if code := status(c.err, &out); code != c.code || out.String() != c.text {
			t.Errorf("%v: got %d and %q", c.err, code, &out)
		}
	}
}

// TestMain lets the tests below run this binary as a program with signals of its own.
func TestMain(m *testing.M) {
	switch os.Getenv("RUN_AS") {
	case "obedient":
		Main(func(ctx context.Context) error { os.Stdout.WriteString("ready\n"); return All(ctx, untilDone) })
	case "deaf":
		Main(func(ctx context.Context) error {
			os.Stdout.WriteString("ready\n")
			<-ctx.Done()
			os.Stdout.WriteString("told\n")
			select {}
		})
	}
	os.Exit(m.Run())
}

func program(t *testing.T, as string) (*exec.Cmd, func(want string)) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "RUN_AS="+as)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, func(want string) {
		t.Helper()
		line := make([]byte, len(want))
		if _, err := out.Read(line); err != nil || string(line) != want {
			t.Fatalf("the program said %q, %v; want %q", line, err, want)
		}
	}
}

func TestASignalStopsTheProgramInGoodOrder(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd, expect := program(t, "obedient")
		expect("ready\n")
		if err := errors.Join(cmd.Process.Signal(signal), cmd.Wait()); err != nil {
			t.Errorf("%s: %v", signal, err)
		}
	}
}

func TestASecondSignalEndsADeafProgramAtOnce(t *testing.T) {
	cmd, expect := program(t, "deaf")
	expect("ready\n")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expect("told\n")
	// The program gives the signal back right after the context has ended, so one may come too soon.
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if !strings.Contains(err.Error(), "signal: terminated") {
				t.Errorf("ended with %v", err)
			}
			return
		case <-ticker.C:
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	}
}
