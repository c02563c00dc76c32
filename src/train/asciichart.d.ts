// The part of asciichart that is used here; the package brings no types.
declare module "asciichart" {
  interface PlotOptions {
    readonly height?: number;
    readonly format?: (value: number) => string;
  }
  const asciichart: {
    plot(series: readonly (readonly number[])[], options?: PlotOptions): string;
  };
  export default asciichart;
}
