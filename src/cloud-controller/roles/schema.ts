import { z } from 'zod';
import { relationships, ToOne } from '../api/body.ts';
import type { ListSpec } from '../api/list.ts';
import { ORGANIZATION_ROLES, SPACE_ROLES } from '../api/permissions.ts';

const ALL = [...ORGANIZATION_ROLES, ...SPACE_ROLES] as const;

const User = z.strictObject(
  {
    data: z.union([
      z.strictObject({ guid: z.string().min(1).max(255) }),
      z.strictObject({ username: z.string().min(1).max(255), origin: z.string().min(1).max(255).optional() }),
    ]),
  },
  { error: 'Relationships User must have a username or guid specified' },
);

export const CreateRole = z
  .strictObject({
    type: z.enum(ALL, {
      error: `Type must be one of the allowed types [${ALL.map((type) => `"${type}"`).join(', ')}]`,
    }),
    relationships: relationships({
      user: User,
      organization: ToOne('Organization').optional(),
      space: ToOne('Space').optional(),
    }),
  })
  .superRefine((role, context) => {
    const { organization, space } = role.relationships;
    const fault = (message: string): void => context.addIssue({ code: 'custom', message, path: [] });
    if (organization && space) fault('Relationships cannot specify both an organization and a space');
    else if (role.type.startsWith('organization_') && !organization) {
      fault(
        space
          ? `Relationships Role with type, ${role.type}, cannot be associated with a space.`
          : "Relationships Organization can't be blank",
      );
    } else if (role.type.startsWith('space_') && !space) {
      fault(
        organization
          ? `Relationships Role with type, ${role.type}, cannot be associated with an organization.`
          : "Relationships Space can't be blank",
      );
    }
  });
export type CreateRole = z.infer<typeof CreateRole>;

export const ROLE_LIST: ListSpec = {
  filters: ['guids', 'types', 'space_guids', 'organization_guids', 'user_guids'],
  include: ['user', 'space', 'organization'],
};
