package drain

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// detached says whether the volumes of the pods that went have left the node, or
// were waited for as long as the task allows. A volume that is still attached
// when its instance dies is free for another node only minutes later.
func (d *Drain) detached(now time.Time) bool {
	limit := time.Duration(d.req.Parameters.GetVolumeDetachSeconds()) * time.Second
	if limit == 0 {
		return true
	}
	volumes, err := d.exec.View.Attached(d.name(), d.staying())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attached = volumes
	switch {
	case err != nil:
		d.req.Note("not waiting for volumes: %v", err)
		return true
	case len(volumes) == 0:
		return true
	case d.detachBy.IsZero():
		d.detachBy = sooner(now.Add(limit), d.req.Deadline)
		d.phase = "detaching"
		d.req.Note("waiting for volumes to be detached: %s", strings.Join(volumes, ", "))
	}
	if now.Before(d.detachBy) {
		return false
	}
	d.req.Note("warning: volumes are still attached: %s", strings.Join(volumes, ", "))
	return true
}

// staying are the pods that the drain leaves on the node; their volumes stay too.
func (d *Drain) staying() []*corev1.Pod {
	var out []*corev1.Pod
	for _, st := range d.order {
		if st.state == skipped && !Finished(st.pod) {
			out = append(out, st.pod)
		}
	}
	return out
}
