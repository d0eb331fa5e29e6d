package stage

import (
	"context"
	"fmt"
	"sync"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Budgets watches every PodDisruptionBudget and remembers when one was broken.
type Budgets struct {
	mu sync.Mutex
	// broken by namespace/name, with the worst seen.
	broken map[string]string
	// known budgets that guard pods.
	known map[string]int32
	seen  int
	fail  error
}

// Kubernetes is an administrator's client of the lab.
func (s *Stage) Kubernetes() (kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Lab.Kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = 200, 400
	return kubernetes.NewForConfig(cfg)
}

// WatchBudgets starts watching, until ctx ends. Budgets that are broken at the
// start are not ours to keep and are left out.
func (s *Stage) WatchBudgets(ctx context.Context) (*Budgets, error) {
	client, err := s.Kubernetes()
	if err != nil {
		return nil, err
	}
	list, err := client.PolicyV1().PodDisruptionBudgets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	b := &Budgets{broken: map[string]string{}, known: map[string]int32{}}
	for i := range list.Items {
		if pdb := &list.Items[i]; pdb.Status.CurrentHealthy >= pdb.Status.DesiredHealthy {
			b.known[pdb.Namespace+"/"+pdb.Name] = pdb.Status.DesiredHealthy
		}
	}
	w, err := client.PolicyV1().PodDisruptionBudgets("").Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return nil, err
	}
	go b.follow(ctx, w)
	return b, nil
}

func (b *Budgets) follow(ctx context.Context, w watch.Interface) {
	defer w.Stop()
	for event := range w.ResultChan() {
		pdb, ok := event.Object.(*policyv1.PodDisruptionBudget)
		b.mu.Lock()
		if !ok {
			b.fail = fmt.Errorf("the watch of budgets broke: %v", event.Object)
		} else {
			b.look(pdb)
		}
		b.mu.Unlock()
	}
	if ctx.Err() == nil {
		b.mu.Lock()
		b.fail = fmt.Errorf("the watch of budgets ended early")
		b.mu.Unlock()
	}
}

func (b *Budgets) look(pdb *policyv1.PodDisruptionBudget) {
	name := pdb.Namespace + "/" + pdb.Name
	b.seen++
	if _, ours := b.known[name]; ours && pdb.Status.CurrentHealthy < pdb.Status.DesiredHealthy {
		b.broken[name] = fmt.Sprintf("%d healthy of %d desired", pdb.Status.CurrentHealthy, pdb.Status.DesiredHealthy)
	}
}

// Verdict tells the budgets watched, changes of their status seen, those broken with the
// worst seen, and an error if the watch did not hold.
func (b *Budgets) Verdict() (watched, seen int, broken map[string]string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.known), b.seen, b.broken, b.fail
}
