/** A JSON Schema (2020-12) as zod writes it; the keywords that say something of a type. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly description?: string;
}

/** An OpenAPI document: what of it has types. */
export interface Document {
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}
