use std::fmt;

use crate::chain::Usage;

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeRole {
    /// Encrypts.
    Producer,
    /// Decrypts, and asks producers for keys directly.
    Consumer,
    /// Both.
    Prodcon,
    /// Both, but asks for keys through a controller only.
    ProdconLimited,
    /// Decrypts, and asks for keys through a controller only.
    ConsumerLimited,
    /// Passes requests on to producers.
    Controller,
    /// Renews the chains of others.
    ChainServer,
}

/// Who signs for nodes: a key of its own for each kind, from the same password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provisioner {
    /// Signs producers.
    Producer,
    /// Signs consumers and controllers.
    Consumer,
    /// Signs nodes that are both.
    Prodcon,
}

/// One row of the table of roles (protocol §13).
struct Row {
    role: NodeRole,
    name: &'static str,
    signer: Option<Provisioner>,
    usages: &'static [Usage],
    path_length: u32,
}

const TABLE: [Row; 7] = [
    Row {
        role: NodeRole::Producer,
        name: "producer",
        signer: Some(Provisioner::Producer),
        usages: &[Usage::Encrypt],
        path_length: 1,
    },
    Row {
        role: NodeRole::Consumer,
        name: "consumer",
        signer: Some(Provisioner::Consumer),
        usages: &[Usage::EncryptRequest, Usage::EncryptSubscribe],
        path_length: 1,
    },
    Row {
        role: NodeRole::Prodcon,
        name: "prodcon",
        signer: Some(Provisioner::Prodcon),
        usages: &[Usage::Encrypt, Usage::EncryptRequest, Usage::EncryptSubscribe],
        path_length: 1,
    },
    Row {
        role: NodeRole::ProdconLimited,
        name: "prodcon-limited",
        signer: Some(Provisioner::Prodcon),
        usages: &[Usage::Encrypt, Usage::EncryptSubscribe],
        path_length: 1,
    },
    Row {
        role: NodeRole::ConsumerLimited,
        name: "consumer-limited",
        signer: Some(Provisioner::Consumer),
        usages: &[Usage::EncryptSubscribe],
        path_length: 1,
    },
    Row {
        role: NodeRole::Controller,
        name: "controller",
        signer: Some(Provisioner::Consumer),
        usages: &[Usage::EncryptRequest],
        path_length: 1,
    },
    Row {
        role: NodeRole::ChainServer,
        name: "chain-server",
        signer: None,
        usages: &[Usage::Encrypt, Usage::EncryptSubscribe],
        // a node's certificate and that node's messages stand below its own
        path_length: 2,
    },
];

impl NodeRole {
    /// All of them, in the order of the protocol's table.
    pub const ALL: [Self; 7] = [
        Self::Producer,
        Self::Consumer,
        Self::Prodcon,
        Self::ProdconLimited,
        Self::ConsumerLimited,
        Self::Controller,
        Self::ChainServer,
    ];

    /// Its name on command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The role of a name.
    ///
    /// ```
    /// use kafkacrypto::provision::NodeRole;
    /// assert_eq!(NodeRole::from_name("prodcon-limited"), Some(NodeRole::ProdconLimited));
    /// assert_eq!(NodeRole::from_name("king"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.role)
    }

    /// What its chain allows.
    #[must_use]
    pub fn usages(self) -> &'static [Usage] {
        self.row().usages
    }

    /// Whose key signs its certificate; none means the root's.
    #[must_use]
    pub fn signer(self) -> Option<Provisioner> {
        self.row().signer
    }

    /// How many certificates may stand below its own, unless the operator asks for another number.
    #[must_use]
    pub fn path_length(self) -> u32 {
        self.row().path_length
    }

    /// Whether it encrypts records.
    #[must_use]
    pub fn produces(self) -> bool {
        self.signer().is_some() && self.usages().contains(&Usage::Encrypt)
    }

    /// Whether it can get keys only where a controller runs.
    #[must_use]
    pub fn needs_controller(self) -> bool {
        matches!(self, Self::ProdconLimited | Self::ConsumerLimited)
    }

    fn row(self) -> &'static Row {
        let [first, ..] = &TABLE;
        TABLE.iter().find(|row| row.role == self).unwrap_or(first)
    }
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Provisioner {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Producer, Self::Consumer, Self::Prodcon];

    /// Its name, which is part of how its key is made.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.role().name()
    }

    /// What it can let nodes do.
    #[must_use]
    pub fn usages(self) -> &'static [Usage] {
        self.role().usages()
    }

    /// The role that has its name and may do all that it can allow.
    fn role(self) -> NodeRole {
        match self {
            Self::Producer => NodeRole::Producer,
            Self::Consumer => NodeRole::Consumer,
            Self::Prodcon => NodeRole::Prodcon,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_its_row_and_its_name() {
        for role in NodeRole::ALL {
            assert_eq!(role.row().role, role);
            assert_eq!(NodeRole::from_name(role.name()), Some(role));
        }
        assert_eq!(TABLE.len(), NodeRole::ALL.len());
    }

    #[test]
    fn no_provisioner_signs_for_more_than_it_has() {
        for role in NodeRole::ALL {
            if let Some(signer) = role.signer() {
                assert!(role.usages().iter().all(|usage| signer.usages().contains(usage)), "{role}");
            }
        }
    }
}
