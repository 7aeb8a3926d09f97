package volume

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	uid  = "0b5c7c3e-1f5a-4d0a-9d67-3f1c2a9be001"
	name = "pvc-" + uid
	here = "worker"
)

// waiting is a claim that waits for a volume on this machine.
func waiting() *corev1.PersistentVolumeClaim {
	class, mode := "standard", corev1.PersistentVolumeFilesystem
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "s1", Name: "data-mesh-node-a-0", UID: types.UID(uid),
			Annotations: map[string]string{forProvisioner: Provisioner, onMachine: here},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, VolumeMode: &mode, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("256Mi")}},
		},
	}
}

func newMaker(t *testing.T, objects ...client.Object) *maker {
	t.Helper()
	below, err := open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = below.root.Close() })
	return &maker{client: fake.NewClientBuilder().WithObjects(objects...).Build(), node: here, base: below}
}

// ask has a claim or a volume looked at.
func ask(t *testing.T, look reconcile.Func, of client.Object) error {
	t.Helper()
	_, err := look(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(of)})
	return err
}

// volumes are those that the cluster knows.
func volumes(t *testing.T, m *maker) []corev1.PersistentVolume {
	t.Helper()
	var all corev1.PersistentVolumeList
	if err := m.client.List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	return all.Items
}

func directories(t *testing.T, m *maker) []fs.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(m.base.path)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// TestAClaimGetsItsVolume: a directory that is root's alone, and a volume that no pod leaves this machine with.
func TestAClaimGetsItsVolume(t *testing.T) {
	c := waiting()
	m := newMaker(t, c)
	for range 2 { // the second time all is there
		if err := ask(t, m.claim, c); err != nil {
			t.Fatal(err)
		}
	}
	all := volumes(t, m)
	if len(all) != 1 {
		t.Fatalf("%d volumes", len(all))
	}
	v := all[0]
	if v.Name != name || machine(&v) != here || v.Annotations[madeBy] != Provisioner || v.Spec.Local == nil || v.Spec.Local.Path != filepath.Join(m.base.path, name) {
		t.Errorf("volume %+v", v)
	}
	if r := v.Spec.ClaimRef; r == nil || r.Namespace != c.Namespace || r.Name != c.Name || r.UID != c.UID {
		t.Errorf("it is of %+v", r)
	}
	size := v.Spec.Capacity[corev1.ResourceStorage]
	if size.String() != "256Mi" || v.Spec.StorageClassName != "standard" || v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete ||
		len(v.Spec.AccessModes) != 1 || v.Spec.AccessModes[0] != corev1.ReadWriteOnce {
		t.Errorf("spec %+v", v.Spec)
	}
	info, err := os.Stat(v.Spec.Local.Path)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		t.Errorf("directory %v, %v", info, err)
	}
}

// TestOthersClaimsAreLeftAlone: what another machine or another provisioner is asked for, what has a volume, and what is
// not to have one yet or any more.
func TestOthersClaimsAreLeftAlone(t *testing.T) {
	for what, change := range map[string]func(*corev1.PersistentVolumeClaim){
		"another machine":       func(c *corev1.PersistentVolumeClaim) { c.Annotations[onMachine] = "worker2" },
		"no machine yet":        func(c *corev1.PersistentVolumeClaim) { delete(c.Annotations, onMachine) },
		"another provisioner":   func(c *corev1.PersistentVolumeClaim) { c.Annotations[forProvisioner] = "kubernetes.io/host-path" },
		"no provisioner yet":    func(c *corev1.PersistentVolumeClaim) { delete(c.Annotations, forProvisioner) },
		"a claim with a volume": func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "other" },
		"a claim that goes away": func(c *corev1.PersistentVolumeClaim) {
			c.DeletionTimestamp, c.Finalizers = &metav1.Time{Time: metav1.Now().Time}, []string{"x/y"}
		},
	} {
		c := waiting()
		change(c)
		m := newMaker(t, c)
		if err := ask(t, m.claim, c); err != nil || len(volumes(t, m)) > 0 || len(directories(t, m)) > 0 {
			t.Errorf("%s: %v, volumes %v, directories %v", what, err, volumes(t, m), directories(t, m))
		}
	}
	gone := newMaker(t)
	if err := ask(t, gone.claim, waiting()); err != nil {
		t.Errorf("a claim that is gone: %v", err)
	}
}

// TestWhatADirectoryIsNot: such a claim is refused, and nothing is made for it.
func TestWhatADirectoryIsNot(t *testing.T) {
	block := corev1.PersistentVolumeBlock
	for what, change := range map[string]func(*corev1.PersistentVolumeClaim){
		"many machines": func(c *corev1.PersistentVolumeClaim) { c.Spec.AccessModes[0] = corev1.ReadWriteMany },
		"a device":      func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeMode = &block },
		"one of some":   func(c *corev1.PersistentVolumeClaim) { c.Spec.Selector = &metav1.LabelSelector{} },
		"a copy": func(c *corev1.PersistentVolumeClaim) {
			c.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "x", Name: "y"}
		},
		"a copy, by name": func(c *corev1.PersistentVolumeClaim) {
			c.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: "x", Name: "y"}
		},
		"another's name": func(c *corev1.PersistentVolumeClaim) { c.UID = "../../etc" },
	} {
		c := waiting()
		change(c)
		m := newMaker(t, c)
		if err := ask(t, m.claim, c); err == nil || len(volumes(t, m)) > 0 || len(directories(t, m)) > 0 {
			t.Errorf("%s: %v, volumes %v, directories %v", what, err, volumes(t, m), directories(t, m))
		}
	}
}

// released makes a volume whose claim is gone, with something in it.
func released(t *testing.T, change func(*corev1.PersistentVolume)) (*maker, *corev1.PersistentVolume) {
	t.Helper()
	m := newMaker(t)
	v := m.volumeOf(waiting())
	v.Status.Phase = corev1.VolumeReleased
	change(v)
	if err := m.client.Create(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if err := m.base.add(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.base.of(name), "records.db"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	return m, v
}

// TestAReleasedVolumeGoes: with all that is in it, but nothing that a link in it points to.
func TestAReleasedVolumeGoes(t *testing.T) {
	m, v := released(t, func(*corev1.PersistentVolume) {})
	outside := t.TempDir()
	kept := filepath.Join(outside, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(m.base.of(name), "link")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is gone
		if err := ask(t, m.volume, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.client.Get(t.Context(), client.ObjectKeyFromObject(v), v); !apierrors.IsNotFound(err) {
		t.Errorf("the volume: %v", err)
	}
	if left := directories(t, m); len(left) > 0 {
		t.Errorf("left is %v", left)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("what a link pointed to: %v", err)
	}
}

// TestOthersVolumesStay: what is in use or not to go, and what is another machine's or another provisioner's, or only says that it is not.
func TestOthersVolumesStay(t *testing.T) {
	elsewhere := func(v *corev1.PersistentVolume) *corev1.NodeSelectorRequirement {
		return &v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]
	}
	for what, c := range map[string]struct {
		change func(*corev1.PersistentVolume)
		told   bool // that it stays is an error
	}{
		"in use": {func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeBound }, false},
		"to be retained": {func(v *corev1.PersistentVolume) {
			v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}, false},
		"another provisioner":  {func(v *corev1.PersistentVolume) { v.Annotations[madeBy] = "rancher.io/local-path" }, false},
		"another machine":      {func(v *corev1.PersistentVolume) { elsewhere(v).Values[0] = "worker2" }, false},
		"every other machine":  {func(v *corev1.PersistentVolume) { elsewhere(v).Operator = corev1.NodeSelectorOpNotIn }, false},
		"this machine's label": {func(v *corev1.PersistentVolume) { elsewhere(v).Key = "zone" }, false},
		"no machine":           {func(v *corev1.PersistentVolume) { v.Spec.NodeAffinity = nil }, false},
		"another path":         {func(v *corev1.PersistentVolume) { v.Spec.Local.Path = "/etc" }, true},
		"all volumes":          {func(v *corev1.PersistentVolume) { v.Spec.Local.Path = filepath.Dir(v.Spec.Local.Path) }, true},
		"another kind":         {func(v *corev1.PersistentVolume) { v.Spec.Local = nil }, true},
		"a name of its own": {func(v *corev1.PersistentVolume) {
			v.Spec.Local.Path = filepath.Join(filepath.Dir(v.Spec.Local.Path), "mine")
			v.Name = "mine"
		}, true},
	} {
		m, v := released(t, c.change)
		err := ask(t, m.volume, v)
		if (err != nil) != c.told {
			t.Errorf("%s: %v", what, err)
		}
		if left := directories(t, m); len(left) != 1 || len(volumes(t, m)) != 1 {
			t.Errorf("%s: left are %v and %d volumes", what, left, len(volumes(t, m)))
		}
		if _, err := os.Stat(filepath.Join(m.base.of(name), "records.db")); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBase(t *testing.T) {
	for _, path := range []string{"", "relative", "/", "//", filepath.Join(t.TempDir(), "none")} {
		if _, err := open(path); err == nil {
			t.Errorf("%q is taken for a directory of volumes", path)
		}
	}
	b, err := open(t.TempDir() + "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), b.of(name)); err != nil {
		t.Fatal(err)
	}
	if err := b.add(name); err == nil {
		t.Error("a link is taken for the directory of a volume")
	}
}
