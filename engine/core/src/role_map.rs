//! Which groups of an identity provider are worth what here. Pure: the same groups and the same map are always worth the same.

use crate::{Grant, Role};

/// What one group is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRule {
    /// The group, exactly as the provider names it.
    pub group: String,
    /// What its people may do.
    pub grant: Option<Grant>,
    /// The teams they are in, as approvals name them.
    pub teams: Vec<String>,
}

/// What groups are worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleMap {
    /// Each of them adds to the others.
    pub rules: Vec<GroupRule>,
    /// The role, everywhere, of people whom no rule gives one; `None`: they may not come in.
    pub otherwise: Option<Role>,
}

/// What somebody is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The teams.
    pub teams: Vec<String>,
    /// What may be done; never empty.
    pub grants: Vec<Grant>,
}

impl RoleMap {
    /// What somebody in these groups is worth; `None`: nothing, and such a person stays outside.
    pub fn standing(&self, groups: &[String]) -> Option<Standing> {
        let (mut teams, mut grants) = (Vec::new(), Vec::new());
        for rule in self.rules.iter().filter(|rule| groups.contains(&rule.group)) {
            teams.extend(rule.teams.iter().filter(|team| !teams.contains(*team)).cloned().collect::<Vec<_>>());
            grants.extend(rule.grant.iter().filter(|grant| !grants.contains(*grant)).cloned().collect::<Vec<_>>());
        }
        if grants.is_empty() {
            grants.extend(self.otherwise.map(|role| Grant { role, scope: crate::Scope::default() }));
        }
        (!grants.is_empty()).then_some(Standing { teams, grants })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scope;

    fn everywhere(role: Role) -> Grant {
        Grant { role, scope: Scope::default() }
    }

    fn map() -> RoleMap {
        let rule = |group: &str, role: Option<Role>, team: Option<&str>| GroupRule {
            group: group.to_owned(),
            grant: role.map(everywhere),
            teams: team.map(str::to_owned).into_iter().collect(),
        };
        let rules = vec![
            rule("staff", Some(Role::Viewer), None),
            rule("leads", Some(Role::Approver), Some("acme/leads")),
            rule("choir", None, Some("acme/choir")),
        ];
        RoleMap { rules, otherwise: None }
    }

    #[test]
    fn groups_add_up_and_are_compared_exactly() {
        let standing = map().standing(&["leads".to_owned(), "staff".to_owned()]).expect("a standing");
        assert_eq!(standing.grants, [everywhere(Role::Viewer), everywhere(Role::Approver)]);
        assert_eq!(standing.teams, ["acme/leads"]);
        assert_eq!(map().standing(&["Staff".to_owned(), "/staff".to_owned()]), None);
    }

    #[test]
    fn a_team_alone_opens_no_door_unless_everybody_has_a_role() {
        let choir = ["choir".to_owned()];
        assert_eq!(map().standing(&choir), None);
        let open = RoleMap { otherwise: Some(Role::Viewer), ..map() };
        let standing = open.standing(&choir).expect("a standing");
        assert_eq!((standing.grants, standing.teams), (vec![everywhere(Role::Viewer)], vec!["acme/choir".to_owned()]));
        assert_eq!(open.standing(&["leads".to_owned()]).expect("a standing").grants, [everywhere(Role::Approver)]);
    }
}
