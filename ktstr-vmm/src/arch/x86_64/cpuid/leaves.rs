//! CPUID leaves and their registers.

use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

/// EAX, EBX, ECX and EDX.
pub(super) type Registers = [u32; 4];

/// The CPUID leaves of one CPU, in KVM's format.
pub(super) struct Leaves(Vec<kvm_cpuid_entry2>);

impl Leaves {
    pub(super) fn new(entries: &[kvm_cpuid_entry2]) -> Self {
        Self(entries.to_vec())
    }

    pub(super) fn into_entries(self) -> Vec<kvm_cpuid_entry2> {
        self.0
    }

    /// The first entry of leaf `function`.
    pub(super) fn find(&mut self, function: u32) -> Option<&mut kvm_cpuid_entry2> {
        self.0.iter_mut().find(|entry| entry.function == function)
    }

    /// The first entry of leaf `function`; created with zeros if it is missing, as KVM returns zeros then.
    pub(super) fn leaf(&mut self, function: u32) -> &mut kvm_cpuid_entry2 {
        let found = self.0.iter().position(|entry| entry.function == function);
        let index = found.unwrap_or_else(|| {
            self.0.push(kvm_cpuid_entry2 {
                function,
                ..Default::default()
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    /// The subleaves of `function`.
    pub(super) fn subleaves(&self, function: u32) -> Vec<Registers> {
        let entries = self.0.iter().filter(|entry| entry.function == function);
        entries
            .map(|entry| [entry.eax, entry.ebx, entry.ecx, entry.edx])
            .collect()
    }

    pub(super) fn remove(&mut self, function: u32) {
        self.0.retain(|entry| entry.function != function);
    }

    /// Replaces all subleaves of `function` by these, numbered from 0.
    pub(super) fn replace(
        &mut self,
        function: u32,
        subleaves: impl IntoIterator<Item = Registers>,
    ) {
        self.remove(function);
        let entries = (0..).zip(subleaves);
        let entries = entries.map(|(index, [eax, ebx, ecx, edx])| kvm_cpuid_entry2 {
            function,
            index,
            flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        });
        self.0.extend(entries);
    }
}

/// Sets or clears `bits`.
pub(super) fn set(register: &mut u32, bits: u32, on: bool) {
    if on {
        *register |= bits;
    } else {
        *register &= !bits;
    }
}
