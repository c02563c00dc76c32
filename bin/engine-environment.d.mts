export declare const ALLOCATOR_SETTINGS: Readonly<Record<string, string>>;
export declare function engineEnvironment(environment?: NodeJS.ProcessEnv): Record<string, string>;
