package collect

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
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

// volumeZones are the zones where the pod's bound volumes live.
func (c *Collector) volumeZones(pod *corev1.Pod) []string {
	if c.claims == nil {
		return nil
	}
	var zones []string
	for _, name := range claimNames(pod) {
		obj, ok, err := c.claims.GetStore().GetByKey(pod.Namespace + "/" + name)
		if err != nil || !ok {
			continue
		}
		obj, ok, err = c.volumes.GetStore().GetByKey(obj.(*corev1.PersistentVolumeClaim).Spec.VolumeName)
		if err != nil || !ok {
			continue // not bound yet: it will follow the pod
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
