package parts

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/cloudoptim/cloudoptim/pkg/proc"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/progress"
)

// kubeVersion is what the control plane says it is. It must be that of
// k8s.io/kubernetes in kubebox/go.mod: without the flags below the server
// calls itself v0.0.0, and clients refuse to speak with it.
const kubeVersion = "v1.37.2"

// ldflags and -trimpath are the same everywhere kubebox is built, for the Go
// build cache counts another choice as another build, of a quarter of an hour.
func ldflags() string {
	const version = "k8s.io/component-base/version."
	part := strings.Split(strings.TrimPrefix(kubeVersion, "v"), ".")
	return strings.Join([]string{
		"-s", "-w",
		"-X", version + "gitVersion=" + kubeVersion,
		"-X", version + "gitMajor=" + part[0],
		"-X", version + "gitMinor=" + part[1],
		"-X", "k8s.io/client-go/pkg/version.gitVersion=" + kubeVersion,
	}, " ")
}

func kubebox(ctx context.Context, root, cache string) (string, error) {
	src := filepath.Join(root, labDir, "kubebox")
	var files []string
	for _, pattern := range []string{"*.go", "*.yaml", "go.mod", "go.sum"} {
		found, err := filepath.Glob(filepath.Join(src, pattern))
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	key, err := hash(ldflags()+runtime.GOOS+runtime.GOARCH, files...)
	if err != nil {
		return "", err
	}
	dir, err := once(ctx, filepath.Join(cache, "kubebox"), key, func(work string) error {
		return progress.Step("building the Kubernetes control plane (first time: 8 to 15 minutes on 2 cores)", func() error {
			cmd := exec.Command("go", "build", "-trimpath", "-ldflags", ldflags(), "-o", filepath.Join(work, "kubebox"), ".")
			cmd.Dir = src
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false")
			return proc.Run(ctx, cmd)
		})
	})
	return filepath.Join(dir, "kubebox"), err
}
