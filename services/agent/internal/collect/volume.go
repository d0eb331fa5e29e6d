package collect

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

var zoneKeys = []string{
	corev1.LabelTopologyZone, "topology.ebs.csi.aws.com/zone", corev1.LabelFailureDomainBetaZone,
}

// claimNames lists the claims a pod uses; a generic ephemeral volume's claim is
// named after pod and volume.
func claimNames(pod *corev1.Pod) []string {
	var names []string
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil:
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			names = append(names, pod.Name+"-"+v.Name)
		}
	}
	return names
}

// volumeNames are the volumes that the pod's claims are bound to.
func (c *Collector) volumeNames(pod *corev1.Pod) []string {
	var names []string
	for _, name := range claimNames(pod) {
		obj, ok, err := c.claims.GetStore().GetByKey(pod.Namespace + "/" + name)
		if err != nil || !ok {
			continue
		}
		if volume := obj.(*corev1.PersistentVolumeClaim).Spec.VolumeName; volume != "" {
			names = append(names, volume)
		}
	}
	return names
}

// Local tells whether one of the pod's volumes is on the node itself, so that its
// content stays behind and the pod finds no place elsewhere.
func (c *Collector) Local(pod *corev1.Pod) bool {
	if c.claims == nil {
		return false
	}
	return slices.ContainsFunc(c.volumeNames(pod), func(name string) bool {
		obj, ok, err := c.volumes.GetStore().GetByKey(name)
		if err != nil || !ok {
			return false
		}
		source := obj.(*corev1.PersistentVolume).Spec.PersistentVolumeSource
		return source.Local != nil || source.HostPath != nil
	})
}

// errVolumesUnseen is why nobody can wait for a volume.
var errVolumesUnseen = errors.New("volume attachments may not be read")

// Attached names the volumes that are attached to a node, or about to be, without
// those of some pods.
func (c *Collector) Attached(node string, except []*corev1.Pod) ([]string, error) {
	if c.attachments == nil {
		return nil, errVolumesUnseen
	}
	var stay []string
	for _, pod := range except {
		stay = append(stay, c.volumeNames(pod)...)
	}
	objects, err := c.attachments.GetIndexer().ByIndex(byNode, node)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, obj := range objects {
		a := obj.(*storagev1.VolumeAttachment)
		var volume string
		if a.Spec.Source.PersistentVolumeName != nil {
			volume = *a.Spec.Source.PersistentVolumeName
		}
		if !slices.Contains(stay, volume) {
			names = append(names, cmp.Or(volume, a.Name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func nodeOfAttachment(obj any) ([]string, error) {
	if a, ok := obj.(*storagev1.VolumeAttachment); ok {
		return []string{a.Spec.NodeName}, nil
	}
	return nil, nil
}

// attachmentChanged wakes a drain that waits for it; central is not told.
func (c *Collector) attachmentChanged(obj any) {
	if a, ok := obj.(*storagev1.VolumeAttachment); ok {
		c.watchers.notify(a.Spec.NodeName)
	}
}

// volumeZones are the zones where the pod's bound volumes live.
func (c *Collector) volumeZones(pod *corev1.Pod) []string {
	if c.claims == nil {
		return nil
	}
	var zones []string
	for _, name := range c.volumeNames(pod) {
		obj, ok, err := c.volumes.GetStore().GetByKey(name)
		if err != nil || !ok {
			continue // not seen yet: its coming marks the pod
		}
		zones = append(zones, zonesOf(obj.(*corev1.PersistentVolume))...)
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

func zonesOf(pv *corev1.PersistentVolume) []string {
	var zones []string
	if pv.Spec.NodeAffinity != nil && pv.Spec.NodeAffinity.Required != nil {
		for _, term := range pv.Spec.NodeAffinity.Required.NodeSelectorTerms {
			for _, r := range term.MatchExpressions {
				if slices.Contains(zoneKeys, r.Key) && r.Operator == corev1.NodeSelectorOpIn {
					zones = append(zones, r.Values...)
				}
			}
		}
	}
	for _, key := range zoneKeys {
		if v := pv.Labels[key]; v != "" && len(zones) == 0 {
			zones = strings.Split(v, "__") // a regional volume names several so
		}
	}
	return zones
}
